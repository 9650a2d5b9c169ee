// Functions over the vocabulary. Included after vec_inl.h, inside a target region and namespace.

// A whole vector or the `left` lanes that there are: a loop and its tail are written once.
CULET_INLINE F32 LoadPart(const float* p, std::int64_t left) {
  return left >= kLanes ? Load(p) : LoadN(p, left);
}
CULET_INLINE void StorePart(float* p, F32 a, std::int64_t left) {
  if (left >= kLanes) {
    Store(p, a);
  } else {
    StoreN(p, a, left);
  }
}

// e^x, within 1.01 units in the last place of normal results (every third float in ± 106 compared
// with double, 2026-11-25); infinity above 88.73, subnormals and zero below −87.34; NaN stays NaN.
CULET_INLINE F32 Exp(F32 x) {
  x = Max(Set(-106.0f), Min(Set(106.0f), x));
  // x = n·ln 2 + r, ln 2 in two parts so that n·high is exact.
  const F32 n = RoundToInt(Mul(x, Set(1.44269504088896341f)));
  const F32 r = Fnma(n, Set(-2.12194440e-4f), Fnma(n, Set(0.693359375f), x));
  F32 p = Set(1.9875691500e-4f);
  p = Fma(p, r, Set(1.3981999507e-3f));
  p = Fma(p, r, Set(8.3334519073e-3f));
  p = Fma(p, r, Set(4.1665795894e-2f));
  p = Fma(p, r, Set(1.6666665459e-1f));
  p = Fma(p, r, Set(5.0000001201e-1f));
  p = Fma(p, Mul(r, r), r);
  return Ldexp(Add(p, Set(1.0f)), n);
}

// tanh x, within 1.4 units in the last place. A polynomial near zero, where 1 − 2/(e^2x + 1)
// cancels.
CULET_INLINE F32 Tanh(F32 x) {
  const F32 a = Abs(x);
  const F32 z = Mul(x, x);
  F32 p = Set(-5.70498872745e-3f);
  p = Fma(p, z, Set(2.06390887954e-2f));
  p = Fma(p, z, Set(-5.37397155531e-2f));
  p = Fma(p, z, Set(1.33314422036e-1f));
  p = Fma(p, z, Set(-3.33332819422e-1f));
  const F32 near = Fma(Mul(p, z), x, x);
  const F32 e = Exp(Add(a, a));
  const F32 far = Sub(Set(1.0f), Div(Set(2.0f), Add(e, Set(1.0f))));
  return IfLess(a, Set(0.625f), near, CopySign(far, x));
}

// t/2·(1 + tanh u) = t / (1 + e^(−2u)), u = √(2/π)·(t + 0.044715·t³): no cancellation for t < 0.
CULET_INLINE F32 Gelu(F32 t) {
  const F32 inner = Mul(t, Fma(Mul(t, t), Set(0.044715f), Set(1.0f)));
  return Div(t, Add(Set(1.0f), Exp(Mul(inner, Set(-1.59576912160573071f)))));
}
