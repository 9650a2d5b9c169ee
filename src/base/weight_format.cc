#include "base/weight_format.h"

namespace culet {

std::string_view WeightFormatName(WeightFormat format) {
  switch (format) {
    case WeightFormat::kDense: return "dense";
    case WeightFormat::kInt8Tiles: return "int8";
    case WeightFormat::kInt4Tiles: return "int4";
    case WeightFormat::kInt8Rows: return "int8 rows";
    case WeightFormat::kInt4Rows: return "int4 rows";
    case WeightFormat::kInt8Plain: return "int8 plain rows";
    case WeightFormat::kInt4Plain: return "int4 plain rows";
    case WeightFormat::kInt2Plain: return "int2 plain rows";
  }
  return "";
}

std::vector<std::int64_t> WeightLayout::data_shape() const {
  switch (format) {
    case WeightFormat::kInt8Tiles:
      return {padded_n() / kTileOutputs, padded_k() / 4, kTileOutputs, 4};
    case WeightFormat::kInt4Tiles:
      return {padded_n() / kTileOutputs, padded_k() / kQuantBlock, 4, kTileOutputs, 4};
    case WeightFormat::kInt8Rows: return {n, padded_k()};
    case WeightFormat::kInt4Rows: return {n, padded_k() / kQuantBlock, 16};
    case WeightFormat::kInt8Plain:
    case WeightFormat::kInt4Plain:
    case WeightFormat::kInt2Plain: return {n, row_bytes()};
    case WeightFormat::kDense: break;
  }
  return {};
}

std::vector<std::int64_t> WeightLayout::scale_shape() const {
  if (IsTiled(format)) return {padded_n() / kTileOutputs, groups(), kTileOutputs};
  return {n, groups()};
}

}  // namespace culet
