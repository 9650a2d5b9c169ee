#include <png.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <new>
#include <string>
#include <vector>

#include "media/byte_reader.h"
#include "media/image_codecs.h"

namespace culet {
namespace {

constexpr png_alloc_size_t kMaxChunkBytes = 8 << 20;  // of texts and profiles, which are skipped

// libpng reports errors by a jump: the same rules as for libjpeg hold (media/image_jpeg.cc).
class Png {
 public:
  explicit Png(const EncodedImage& image) : image_(image) {
    png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, this, Exit, Warn);
    info_ = png_ == nullptr ? nullptr : png_create_info_struct(png_);
    if (info_ == nullptr) {
      png_destroy_read_struct(&png_, nullptr, nullptr);
      throw std::bad_alloc();
    }
  }
  ~Png() { png_destroy_read_struct(&png_, &info_, nullptr); }
  Png(const Png&) = delete;
  Png& operator=(const Png&) = delete;

  RgbImage Decode() {
    // libpng reads on to the first pixels before it tells the size.
    const ByteReader bytes(image_.bytes);
    if (bytes.Is(12, "IHDR") && bytes.Has(16, 8)) {
      RequireImageSize(image_, bytes.Big(16, 4), bytes.Big(20, 4));
    }
    if (!ReadHeader(this)) Refuse();
    RgbImage result;
    result.size = {png_get_image_height(png_, info_), png_get_image_width(png_, info_)};
    RequireImageSize(image_, result.size.width, result.size.height);
    if (!Prepare(this)) Refuse();
    const std::size_t pixels = static_cast<std::size_t>(result.size.height * result.size.width);
    const int channels = png_get_channels(png_, info_);
    const std::size_t row_bytes = png_get_rowbytes(png_, info_);
    if ((channels != 3 && channels != 4) ||
        row_bytes != static_cast<std::size_t>(channels * result.size.width)) {
      std::snprintf(message_, sizeof message_, "%d channels", channels);
      Refuse();
    }
    result.pixels.resize(3 * pixels);
    std::vector<std::uint8_t> rgba(channels == 4 ? 4 * pixels : 0);
    std::uint8_t* first = channels == 4 ? rgba.data() : result.pixels.data();
    rows_.resize(static_cast<std::size_t>(result.size.height));
    for (std::size_t y = 0; y < rows_.size(); ++y) rows_[y] = first + y * row_bytes;
    if (!ReadRows(this)) Refuse();
    if (channels == 4) ComposeOverWhite(rgba, result.pixels.data());
    return result;
  }

 private:
  [[noreturn]] static void Exit(png_structp png, png_const_charp text) {
    Png& self = *static_cast<Png*>(png_get_error_ptr(png));
    std::snprintf(self.message_, sizeof self.message_, "%s", text);
    png_longjmp(png, 1);
  }
  static void Warn(png_structp /*png*/, png_const_charp /*text*/) {}

  static void Read(png_structp png, png_bytep into, std::size_t count) {
    Png& self = *static_cast<Png*>(png_get_io_ptr(png));
    if (count > self.image_.bytes.size() - self.at_) png_error(png, "the data ends early");
    std::memcpy(into, self.image_.bytes.data() + self.at_, count);
    self.at_ += count;
  }

  static bool ReadHeader(Png* self) {
    if (setjmp(png_jmpbuf(self->png_)) != 0) return false;
    png_set_read_fn(self->png_, self, Read);
    png_set_user_limits(self->png_, 0x7fffffff, 0x7fffffff);  // ours come with a better message
    png_set_chunk_malloc_max(self->png_, kMaxChunkBytes);
    png_read_info(self->png_, self->info_);
    return true;
  }

  // Whatever it is, to 8 bits of red, green, blue and perhaps alpha. Of 16 bits the upper eight.
  static bool Prepare(Png* self) {
    if (setjmp(png_jmpbuf(self->png_)) != 0) return false;
    png_set_expand(self->png_);
    png_set_strip_16(self->png_);
    png_set_gray_to_rgb(self->png_);
    png_set_interlace_handling(self->png_);
    png_read_update_info(self->png_, self->info_);
    return true;
  }

  static bool ReadRows(Png* self) {
    if (setjmp(png_jmpbuf(self->png_)) != 0) return false;
    png_read_image(self->png_, self->rows_.data());
    png_read_end(self->png_, nullptr);
    return true;
  }

  [[noreturn]] void Refuse() const {
    RefuseDamaged(image_, "a PNG picture", std::string("cannot be decoded (") + message_ + ")");
  }

  const EncodedImage& image_;
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
  std::size_t at_ = 0;
  char message_[200] = "";
  std::vector<png_bytep> rows_;
};

}  // namespace

RgbImage DecodePng(const EncodedImage& image) { return Png(image).Decode(); }

}  // namespace culet
