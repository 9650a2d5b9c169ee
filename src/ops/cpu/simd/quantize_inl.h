// A group of x to int8, whole or not, with its own scale (0) or a given one. Included inside a
// level's namespace, after its
//   Quantize32(x, q, group)    a whole group of 32, bit for bit as QuantizeGroup does it
//   Quantize32To(scale, x, q, group)    likewise as QuantizeGroupTo does it

// `left` values are there, perhaps more than a group.
CULET_INLINE void QuantizeBlock(const float* x, std::int64_t left, float scale, std::int8_t* q,
                                QuantGroup* group) {
  const bool whole = left >= kQuantBlock;
  if (scale != 0) {
    whole ? Quantize32To(scale, x, q, group) : QuantizeGroupTo(scale, x, left, q, group);
  } else {
    whole ? Quantize32(x, q, group) : QuantizeGroup(x, left, q, group);
  }
}
