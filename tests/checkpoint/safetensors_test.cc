// If this fails, weights are read from the wrong place, or a file that lies is believed.
#include "checkpoint/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "checkpoint/tiny_model.h"

namespace culet {
namespace {

using ::culet::testing::ErrorOf;
using ::culet::testing::MakeTensor;
using ::culet::testing::RawSafetensors;
using ::culet::testing::TemporaryFolder;
using ::culet::testing::TinyTensors;
using ::culet::testing::WriteTensors;
using ::culet::testing::WriteText;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class Safetensors : public ::testing::Test {
 protected:
  SafetensorsFile OpenRaw(const std::string& bytes) {
    WriteText(path_, bytes);
    return SafetensorsFile::Open(FileSystem::Real(), path_);
  }
  TemporaryFolder folder_;
  std::filesystem::path path_ = folder_.path() / "model.safetensors";
};

TEST_F(Safetensors, ReadsBackWhatItWrote) {
  TinyTensors tensors;
  tensors["b"] = MakeTensor({2, 3}, 1);
  tensors["a"] = MakeTensor({1}, 5);
  tensors["empty"] = MakeTensor({0, 7}, 5);
  WriteTensors(path_, tensors);
  const SafetensorsFile file = SafetensorsFile::Open(FileSystem::Real(), path_);
  ASSERT_EQ(file.tensors().size(), 3u);
  const TensorView& b = file.tensors().at("b");
  EXPECT_EQ(b.dtype, DType::kF32);
  EXPECT_THAT(b.shape, ElementsAre(2, 3));
  EXPECT_EQ(b.elements(), 6);
  EXPECT_EQ(std::memcmp(b.bytes.data(), tensors["b"].data.data(), 24), 0);
  EXPECT_EQ(b.file->path(), path_);
  EXPECT_EQ(b.file->bytes().data() + b.file_offset, b.bytes.data());
  EXPECT_EQ(file.tensors().at("empty").elements(), 0);
}

TEST_F(Safetensors, DataOfWrittenFilesIsAlignedToCacheLines) {
  for (int length = 1; length < 70; ++length) {
    TinyTensors tensors;
    tensors[std::string(static_cast<std::size_t>(length), 'x')] = MakeTensor({3}, 1);
    WriteTensors(path_, tensors);
    const SafetensorsFile file = SafetensorsFile::Open(FileSystem::Real(), path_);
    EXPECT_EQ(file.tensors().begin()->second.file_offset % 64, 0u);
  }
}

TEST_F(Safetensors, MovedFilesKeepTheirViews) {
  WriteTensors(path_, {{"a", MakeTensor({4}, 2)}});
  SafetensorsFile first = SafetensorsFile::Open(FileSystem::Real(), path_);
  const std::byte* data = first.tensors().at("a").bytes.data();
  const SafetensorsFile second = std::move(first);
  EXPECT_EQ(second.tensors().at("a").bytes.data(), data);
  EXPECT_EQ(second.tensors().at("a").file->path(), path_);
}

TEST_F(Safetensors, ReadsMetadataAndPaddedHeaders) {
  const SafetensorsFile file = OpenRaw(RawSafetensors(
      R"({"__metadata__":{"format":"pt"},"a":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}}    )",
      "abcd"));
  EXPECT_EQ(file.metadata().at("format"), "pt");
  EXPECT_EQ(file.tensors().size(), 1u);
}

TEST_F(Safetensors, ScalarsHaveAnEmptyShape) {
  const SafetensorsFile file =
      OpenRaw(RawSafetensors(R"({"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]}})", "abcd"));
  EXPECT_EQ(file.tensors().at("a").elements(), 1);
}

TEST_F(Safetensors, AnEmptySizeExcusesNoOverflow) {
  const SafetensorsFile file = OpenRaw(RawSafetensors(
      R"({"a":{"dtype":"F32","shape":[9223372036854775807,9223372036854775807,0],"data_offsets":[0,0]}})",
      ""));
  EXPECT_EQ(file.tensors().at("a").elements(), 0);
}

// Every way to cut a good file is an error and never a crash.
TEST_F(Safetensors, EveryTruncationIsRefused) {
  WriteTensors(path_, {{"a", MakeTensor({4}, 2)}, {"b", MakeTensor({3}, 2)}});
  const std::string whole = FileSystem::Real().ReadFile(path_, 1 << 20);
  for (std::size_t size = 0; size < whole.size(); ++size) {
    const std::string message =
        ErrorOf(ErrorKind::kCorrupt, [&] { OpenRaw(whole.substr(0, size)); });
    EXPECT_THAT(message, HasSubstr("model.safetensors"));
  }
  EXPECT_EQ(OpenRaw(whole).tensors().size(), 2u);
}

// Every single wrong byte of the header is an error or leaves a file whose tensors lie inside it.
TEST_F(Safetensors, NoDamagedHeaderByteLeadsOutOfTheFile) {
  const std::string header =
      R"({"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},"b":{"dtype":"BF16","shape":[3],"data_offsets":[16,22]}})";
  const std::string good = RawSafetensors(header, std::string(22, 'z'));
  for (std::size_t at = 0; at < 8 + header.size(); ++at) {
    for (const int flip : {1, 2, 4, 8, 16, 32, 64, 128}) {
      std::string bad = good;
      bad[at] = static_cast<char>(bad[at] ^ flip);
      try {
        const SafetensorsFile file = OpenRaw(bad);
        std::size_t bytes = 0;
        for (const auto& [name, tensor] : file.tensors()) {
          EXPECT_LE(tensor.file_offset + tensor.bytes.size(), good.size());
          bytes += tensor.bytes.size();
        }
        EXPECT_EQ(bytes, 22u);
      } catch (const Error& error) {
        EXPECT_THAT(error.what(), HasSubstr("model.safetensors"));
      }
    }
  }
}

TEST_F(Safetensors, WriterRefusesMoreOrLessThanDeclared) {
  const std::vector<SafetensorsWriter::Entry> entries = {{"a", DType::kF32, {2}}};
  const std::vector<std::byte> four(4), twelve(12);
  EXPECT_THAT(ErrorOf(ErrorKind::kInternal,
                      [&] {
                        SafetensorsWriter writer(path_, entries);
                        writer.Append(four);
                        writer.Finish();
                      }),
              HasSubstr("4 bytes appended of 8"));
  EXPECT_FALSE(std::filesystem::exists(path_));
  ErrorOf(ErrorKind::kInternal, [&] {
    SafetensorsWriter writer(path_, entries);
    writer.Append(twelve);
  });
  const std::vector<SafetensorsWriter::Entry> twice = {{"a", DType::kF32, {2}},
                                                       {"a", DType::kF32, {2}}};
  ErrorOf(ErrorKind::kInternal, [&] { SafetensorsWriter writer(path_, twice); });
  const std::vector<SafetensorsWriter::Entry> odd = {{"a", DType::kU8, {3}},
                                                     {"b", DType::kF32, {2}}};
  ErrorOf(ErrorKind::kInternal, [&] { SafetensorsWriter writer(path_, odd); });
  EXPECT_TRUE(std::filesystem::is_empty(folder_.path()));
}

}  // namespace
}  // namespace culet
