// Groups of x to int8, whole or not, as QuantizeGroups does it. Included inside a level's
// namespace, after its
//   MaxMagnitude32(x)    of a whole group of 32
//   Quantize32(max_abs, x, q, group)    a whole group of 32, bit for bit as QuantizeGroup does it;
//       max_abs is finite and at least kSmallestGroup
//   Quantize32To(scale, x, q, group)    likewise as QuantizeGroupTo does it

// kScaleColumns values, or `left` where that is fewer.
CULET_INLINE void QuantizeBlocks(const float* x, std::int64_t left, float scale, std::int8_t* q,
                                 QuantGroup* groups) {
  if (left < kScaleColumns) {
    QuantizeGroups(x, left, scale, q, groups);
    return;
  }
  float max_abs = 0;
  if (scale == 0) {
    max_abs = MaxMagnitude32(x);
    for (int b = 1; b < kScaleBlocks; ++b) {
      const float other = MaxMagnitude32(x + b * kQuantBlock);
      if (max_abs < other || std::isnan(other)) max_abs = other;
    }
    if (!(max_abs < INFINITY) || max_abs < kSmallestGroup) {
      QuantizeGroups(x, kScaleColumns, scale, q, groups);
      return;
    }
  }
  for (int b = 0; b < kScaleBlocks; ++b, x += kQuantBlock, q += kQuantBlock) {
    scale == 0 ? Quantize32(max_abs, x, q, groups + b) : Quantize32To(scale, x, q, groups + b);
  }
  ShareNan(kScaleBlocks, groups);
}
