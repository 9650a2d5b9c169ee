#include "runtime/page_pool.h"

#include "base/view.h"

namespace culet {

PagePool::PagePool(std::int64_t pages) : references_(static_cast<std::size_t>(pages), 0) {
  // Taken from the back: low numbers first, so that a short answer touches little memory.
  for (std::int64_t page = pages - 1; page >= 0; --page) {
    free_.push_back(static_cast<std::int32_t>(page));
  }
}

std::int32_t PagePool::Take() {
  CULET_DCHECK(!free_.empty());
  const std::int32_t page = free_.back();
  free_.pop_back();
  references_[page] = 1;
  return page;
}

void PagePool::AddReference(std::int32_t page) {
  CULET_DCHECK(references_[page] > 0);
  ++references_[page];
}

void PagePool::Release(std::int32_t page) {
  CULET_DCHECK(references_[page] > 0);
  if (--references_[page] == 0) free_.push_back(page);
}

}  // namespace culet
