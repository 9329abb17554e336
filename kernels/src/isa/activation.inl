// Activation functions, free of branches so that loops over them vectorize. Absolute errors are below 1e-6 max(1, |x|).
//
// Each is relu(x) less a tail that is even in x and dies out fast: what remains of |x| beyond a limit is below 1e-8.
#pragma once
#include <math.h>

#include <cstdint>
#include <cstring>

// Kernels on a GPU include this file too.
#ifdef __CUDACC__
#define QC_FUNCTION __device__ inline
#else
#define QC_FUNCTION inline
#endif

namespace qc {
namespace {

// 2^-x for 0 <= x <= 126.
QC_FUNCTION float exp2_negative(float x) {
  // Adding 1.5 * 2^23 rounds to an integer, which the low bits then hold.
  constexpr float kRound = 12582912.0f;
  const float shifted = kRound - x;
  const float rest = (kRound - shifted) - x;
  // The series of 2^rest = e^(rest ln 2), |rest| <= 1/2: terms ln(2)^n / n!.
  float result = 1.540353039e-4f;
  result = fmaf(result, rest, 1.333355815e-3f);
  result = fmaf(result, rest, 9.618129108e-3f);
  result = fmaf(result, rest, 5.550410866e-2f);
  result = fmaf(result, rest, 2.402265070e-1f);
  result = fmaf(result, rest, 6.931471806e-1f);
  result = fmaf(result, rest, 1.0f);
  uint32_t exponent;
  std::memcpy(&exponent, &shifted, sizeof exponent);
  exponent = (exponent << 23) + 0x3F800000u;
  float power;
  std::memcpy(&power, &exponent, sizeof power);
  return result * power;
}

QC_FUNCTION float magnitude_up_to(float limit, float x) {
  const float magnitude = fabsf(x);
  return magnitude < limit ? magnitude : limit;
}

// NaN stays NaN.
QC_FUNCTION float relu(float x) { return x < 0.0f ? 0.0f : x; }

// x Phi(x) = relu(x) - |x| erfc(|x| / sqrt(2)) / 2. The polynomial is -log2(erfc(m / sqrt(2))) / m, fitted on 0 ... 6 so as to make the
// greatest error of the tail least.
QC_FUNCTION float gelu(float x) {
  const float m = magnitude_up_to(6.0f, x);
  float exponent = -4.276836079952773e-06f;
  exponent = fmaf(exponent, m, 1.277733281312976e-05f);
  exponent = fmaf(exponent, m, 5.758741754107177e-04f);
  exponent = fmaf(exponent, m, -7.670964580029249e-03f);
  exponent = fmaf(exponent, m, 5.294875428080559e-02f);
  exponent = fmaf(exponent, m, 4.590438306331634e-01f);
  exponent = fmaf(exponent, m, 1.151126980781555f);
  return fmaf(-0.5f * m, exp2_negative(exponent * m), relu(x));
}

// m / (1 + e^v), as m e^-v / (1 + e^-v), e^-v being given.
QC_FUNCTION float logistic_tail(float m, float power) { return m * power / (1.0f + power); }

// x (1 + tanh(u)) / 2 = x / (1 + e^-2u), with u = sqrt(2 / pi) (x + 0.044715 x^3).
QC_FUNCTION float gelu_tanh(float x) {
  constexpr float kTwiceRootLog2E = 2.302208198f;  // 2 sqrt(2 / pi) log2(e)
  const float m = magnitude_up_to(6.0f, x);
  const float exponent = kTwiceRootLog2E * m * fmaf(0.044715f, m * m, 1.0f);
  return relu(x) - logistic_tail(m, exp2_negative(exponent));
}

// x / (1 + e^-x)
QC_FUNCTION float silu(float x) {
  constexpr float kLog2E = 1.442695041f;
  const float m = magnitude_up_to(24.0f, x);
  return relu(x) - logistic_tail(m, exp2_negative(m * kLog2E));
}

}  // namespace
}  // namespace qc
