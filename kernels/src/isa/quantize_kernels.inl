// The row operations for any level, in terms of its Lanes: 16 floats with arithmetic. Included by one file for each level,
// inside an anonymous namespace, after Lanes is defined. As the order of operations is written here, all levels give equal bits.

constexpr int64_t kLanes = 16;

Lanes load_first(const float* x, int64_t count, float fill) {
  float padded[kLanes];
  for (int64_t i = 0; i < kLanes; ++i) padded[i] = i < count ? x[i] : fill;
  return Lanes::load(padded);
}

void store_first(Lanes lanes, int64_t count, float* y) {
  float padded[kLanes];
  lanes.store(padded);
  std::memcpy(y, padded, static_cast<size_t>(count) * sizeof(float));
}

// y = f(loader of i) for every 16 channels; f takes a function that loads 16 values of another row at the same channels.
template <class F>
void map(int64_t count, float* y, F f) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) f([i](const float* x) { return Lanes::load(x + i); }).store(y + i);
  const int64_t rest = count - i;
  if (rest > 0) store_first(f([i, rest](const float* x) { return load_first(x + i, rest, 0); }), rest, y + i);
}

// Folds 16 channels at a time into `total`; the last ones are filled up with `fill`.
template <class F>
Lanes fold(const float* x, int64_t count, float fill, Lanes total, F f) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) total = f(total, Lanes::load(x + i));
  return i < count ? f(total, load_first(x + i, count - i, fill)) : total;
}

// The value of a fixed tree over the 16 lanes.
template <class F>
float reduce(Lanes lanes, F f) {
  float values[kLanes];
  lanes.store(values);
  for (int64_t width = kLanes / 2; width > 0; width /= 2) {
    for (int64_t i = 0; i < width; ++i) values[i] = f(values[i], values[i + width]);
  }
  return values[0];
}

float plus(float a, float b) { return a + b; }

// `from` makes lanes of 16 values of 16 bits.
template <class F>
void widen_words(const uint16_t* x, int64_t count, float* y, F from) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) from(x + i).store(y + i);
  if (i == count) return;
  uint16_t padded[kLanes] = {};
  std::memcpy(padded, x + i, static_cast<size_t>(count - i) * sizeof(uint16_t));
  store_first(from(padded), count - i, y + i);
}

void widen(const FloatIn& x, int64_t at, int64_t count, float* y) {
  const auto* words = static_cast<const uint16_t*>(x.data) + at;
  switch (x.type) {
    case FloatType::kF32: std::memcpy(y, static_cast<const float*>(x.data) + at, static_cast<size_t>(count) * sizeof(float)); return;
    case FloatType::kF16: return widen_words(words, count, y, [](const uint16_t* from) { return Lanes::from_halves(from); });
    case FloatType::kBf16: return widen_words(words, count, y, [](const uint16_t* from) { return Lanes::from_bf16(from); });
  }
}

// `to` makes 16 values of 16 bits of lanes.
template <class F>
void narrow_words(const float* x, int64_t count, uint16_t* y, F to) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) to(Lanes::load(x + i), y + i);
  if (i == count) return;
  uint16_t padded[kLanes];
  to(load_first(x + i, count - i, 0), padded);
  std::memcpy(y + i, padded, static_cast<size_t>(count - i) * sizeof(uint16_t));
}

void narrow(const float* x, int64_t count, const FloatOut& y, int64_t at) {
  auto* words = static_cast<uint16_t*>(y.data) + at;
  switch (y.type) {
    case FloatType::kF32: std::memcpy(static_cast<float*>(y.data) + at, x, static_cast<size_t>(count) * sizeof(float)); return;
    case FloatType::kF16: return narrow_words(x, count, words, [](const Lanes& lanes, uint16_t* to) { lanes.to_halves(to); });
    case FloatType::kBf16: return narrow_words(x, count, words, [](const Lanes& lanes, uint16_t* to) { lanes.to_bf16(to); });
  }
}

struct StoredRange {
  explicit StoredRange(const Affine& affine)
      : scale(Lanes::all(affine.scale)),
        zero(Lanes::all(affine.zero)),
        qmin(Lanes::all(affine.qmin)),
        qmax(Lanes::all(affine.qmax)),
        lifted(Lanes::all(static_cast<float>(lift(affine.bits)))) {}
  // The sum with zero is clipped before it is lifted, so that it is exact from there on.
  void store(Lanes x, uint8_t* stored) const {
    const Lanes code = (x / scale).zero_if_nan().round() + zero;
    (code.max(qmin).min(qmax) + lifted).to_bytes(stored);
  }
  Lanes scale, zero, qmin, qmax, lifted;
};

void quantize(const float* x, int64_t count, const Affine& affine, uint8_t* codes) {
  const StoredRange range(affine);
  uint8_t stored[kStep];
  int64_t k = 0;
  for (; k + kStep <= count; k += kStep, codes += 4 * affine.bits) {
    range.store(Lanes::load(x + k), stored);
    range.store(Lanes::load(x + k + kLanes), stored + kLanes);
    pack_step(stored, affine.bits, codes);
  }
  const int64_t rest = count - k;
  if (rest == 0) return;
  float padded[kStep] = {};
  std::memcpy(padded, x + k, static_cast<size_t>(rest) * sizeof(float));
  range.store(Lanes::load(padded), stored);
  range.store(Lanes::load(padded + kLanes), stored + kLanes);
  std::memset(stored + rest, 0, static_cast<size_t>(kStep - rest));
  pack_step(stored, affine.bits, codes);
}

void dequantize(const uint8_t* codes, int64_t count, const Affine& affine, float* y) {
  const Lanes scale = Lanes::all(affine.scale), zero = Lanes::all(affine.zero);
  const Lanes lifted = Lanes::all(static_cast<float>(lift(affine.bits)));
  uint8_t stored[kStep];
  for (int64_t k = 0; k < count; k += kLanes) {
    if (k % kStep == 0) {
      unpack_step(codes, affine.bits, stored);
      codes += 4 * affine.bits;
    }
    const Lanes value = (Lanes::from_bytes(stored + k % kStep) - lifted - zero) * scale;
    if (k + kLanes <= count) {
      value.store(y + k);
    } else {
      store_first(value, count - k, y + k);
    }
  }
}

void range(const float* x, int64_t count, float* low, float* high) {
  // Lanes::min and max give their argument when this is NaN.
  const Lanes zero = Lanes::all(0);
  const Lanes lows = fold(x, count, 0, zero, [](Lanes total, Lanes v) { return v.min(total); });
  const Lanes highs = fold(x, count, 0, zero, [](Lanes total, Lanes v) { return v.max(total); });
  *low = reduce(lows, [](float a, float b) { return a < b ? a : b; });
  *high = reduce(highs, [](float a, float b) { return a > b ? a : b; });
}

void add(const float* a, const float* b, int64_t count, float* y) {
  map(count, y, [=](auto at) { return at(a) + at(b); });
}

float sum(const float* x, int64_t count) {
  return reduce(fold(x, count, 0, Lanes::all(0), [](Lanes total, Lanes v) { return total + v; }), plus);
}

float sum_of_squares(const float* x, int64_t count, float mean) {
  const Lanes center = Lanes::all(mean);
  const auto add_square = [center](Lanes total, Lanes v) {
    const Lanes difference = v - center;
    return total + difference * difference;
  };
  return reduce(fold(x, count, mean, Lanes::all(0), add_square), plus);
}

void normalize(const float* x, int64_t count, float mean, float inverse, const float* gamma, const float* beta, float* y) {
  const Lanes center = Lanes::all(mean), factor = Lanes::all(inverse);
  const auto scaled = [=](auto at) { return (at(x) - center) * factor * at(gamma); };
  if (beta) {
    map(count, y, [=](auto at) { return scaled(at) + at(beta); });
  } else {
    map(count, y, scaled);
  }
}

constexpr QuantizeKernels kKernels = {widen, narrow, quantize, dequantize, range, add, sum, sum_of_squares, normalize};
