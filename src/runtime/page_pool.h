// Page numbers of one pool with reference counts: a page may stand in tables, in pins and in the
// prefix cache at once.
#pragma once

#include <cstdint>
#include <vector>

namespace culet {

class PagePool {
 public:
  explicit PagePool(std::int64_t pages);
  bool empty() const { return free_.empty(); }
  std::int64_t free_pages() const { return static_cast<std::int64_t>(free_.size()); }
  std::int64_t used_pages() const {
    return static_cast<std::int64_t>(references_.size() - free_.size());
  }
  std::int64_t pages() const { return static_cast<std::int64_t>(references_.size()); }
  std::int32_t references(std::int32_t page) const { return references_[page]; }
  std::int32_t Take();  // count 1; the pool must not be empty
  void AddReference(std::int32_t page);
  void Release(std::int32_t page);  // free again at count 0

 private:
  std::vector<std::int32_t> free_;
  std::vector<std::int32_t> references_;
};

}  // namespace culet
