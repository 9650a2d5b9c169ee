#include <csetjmp>
#include <cstddef>
#include <cstdio>
// These want <cstdio> before them.
#include <jerror.h>
#include <jpeglib.h>

#include <string>
#include <vector>

#include "media/image_codecs.h"

namespace culet {
namespace {

// Progressive pictures come in scans, ten or so; files with thousands of empty ones exist to keep a
// decoder busy.
constexpr int kMaxScans = 500;

// libjpeg reports errors by a function that must not return. No object with a destructor may live
// in the functions that it jumps out of: they are the static ones here, and all memory belongs to
// this.
class Jpeg {
 public:
  explicit Jpeg(const EncodedImage& image) : image_(image) {
    info_.err = jpeg_std_error(&errors_);
    errors_.error_exit = Exit;
    errors_.emit_message = Emit;
    info_.client_data = this;
    progress_.progress_monitor = Watch;
  }
  ~Jpeg() {
    if (made_) jpeg_destroy_decompress(&info_);
  }
  Jpeg(const Jpeg&) = delete;
  Jpeg& operator=(const Jpeg&) = delete;

  RgbImage Decode() {
    if (!ReadHeader(this)) Refuse();
    RequireImageSize(image_, info_.image_width, info_.image_height);
    const bool cmyk = info_.jpeg_color_space == JCS_CMYK || info_.jpeg_color_space == JCS_YCCK;
    if (info_.jpeg_color_space == JCS_UNKNOWN) {
      RefuseDamaged(image_, "a JPEG picture",
                    "has " + std::to_string(info_.num_components) + " channels of no known kind");
    }
    info_.out_color_space = cmyk                                      ? JCS_CMYK
                            : info_.jpeg_color_space == JCS_GRAYSCALE ? JCS_GRAYSCALE
                                                                      : JCS_RGB;
    RgbImage result;
    result.size = {info_.image_height, info_.image_width};
    result.pixels.resize(static_cast<std::size_t>(3 * result.size.height * result.size.width));
    row_.resize(static_cast<std::size_t>(4 * result.size.width));
    result_ = &result;
    if (!ReadRows(this)) Refuse();
    return result;
  }

 private:
  static Jpeg& Of(j_common_ptr info) { return *static_cast<Jpeg*>(info->client_data); }

  [[noreturn]] static void Exit(j_common_ptr info) {
    Jpeg& self = Of(info);
    info->err->format_message(info, self.message_);
    std::longjmp(self.jump_, 1);
  }

  // Warnings are about data that libjpeg could make do without. Where that is pixels, we cannot.
  static void Emit(j_common_ptr info, int level) {
    if (level >= 0) return;
    switch (info->err->msg_code) {
      case JWRN_JPEG_EOF:
      case JWRN_HIT_MARKER:
      case JWRN_HUFF_BAD_CODE:
      case JWRN_MUST_RESYNC: Exit(info);
      default: return;
    }
  }

  static void Watch(j_common_ptr info) {
    const auto* decompress = reinterpret_cast<j_decompress_ptr>(info);
    if (decompress->input_scan_number <= kMaxScans) return;
    Jpeg& self = Of(info);
    std::snprintf(self.message_, sizeof self.message_, "more than %d scans", kMaxScans);
    std::longjmp(self.jump_, 1);
  }

  static bool ReadHeader(Jpeg* self) {
    if (setjmp(self->jump_) != 0) return false;
    jpeg_create_decompress(&self->info_);
    self->made_ = true;
    self->info_.progress = &self->progress_;
    jpeg_mem_src(&self->info_, reinterpret_cast<const unsigned char*>(self->image_.bytes.data()),
                 static_cast<unsigned long>(self->image_.bytes.size()));
    jpeg_read_header(&self->info_, TRUE);
    return true;
  }

  static bool ReadRows(Jpeg* self) {
    if (setjmp(self->jump_) != 0) return false;
    jpeg_decompress_struct* info = &self->info_;
    jpeg_start_decompress(info);
    while (info->output_scanline < info->output_height) {
      std::uint8_t* out = self->result_->pixels.data() +
                          std::size_t{3} * info->output_width * info->output_scanline;
      JSAMPROW row = info->out_color_space == JCS_RGB ? out : self->row_.data();
      jpeg_read_scanlines(info, &row, 1);
      if (row != out) self->Widen(out);
    }
    jpeg_finish_decompress(info);
    return true;
  }

  // A row of grey or CMYK → RGB.
  void Widen(std::uint8_t* out) const {
    const std::uint8_t* in = row_.data();
    const bool grey = info_.out_color_space == JCS_GRAYSCALE;
    for (JDIMENSION x = 0; x < info_.output_width; ++x, in += grey ? 1 : 4, out += 3) {
      for (int c = 0; c < 3; ++c) {
        // Inks are stored inverted, as Adobe began it and everybody reads it: levels of light, of
        // which black's is common to all three.
        out[c] = grey ? in[0] : Product(in[c], in[3]);
      }
    }
  }

  // light · (1 − ink), rounded as Pillow does it.
  static std::uint8_t Product(std::uint32_t light, std::uint32_t black) {
    const std::uint32_t product = (255 - light) * black + 128;
    return static_cast<std::uint8_t>(black - (((product >> 8) + product) >> 8));
  }

  [[noreturn]] void Refuse() const {
    RefuseDamaged(image_, "a JPEG picture", std::string("cannot be decoded (") + message_ + ")");
  }

  const EncodedImage& image_;
  jpeg_decompress_struct info_{};
  jpeg_error_mgr errors_{};
  jpeg_progress_mgr progress_{};
  std::jmp_buf jump_{};
  char message_[JMSG_LENGTH_MAX] = "";
  bool made_ = false;
  RgbImage* result_ = nullptr;
  std::vector<std::uint8_t> row_;
};

}  // namespace

RgbImage DecodeJpeg(const EncodedImage& image) { return Jpeg(image).Decode(); }

}  // namespace culet
