// Ticks of rdtsc that a run of a model takes on one thread: under emulate/run.sh, a count of instructions.
//   count MODEL SIZE ROWS[,ROWS...] [LIBRARY]
// MODEL has one input, `x` [rows, SIZE], and one output; LIBRARY holds operators that it needs. Prints, for each number of rows, the median
// of three runs after one that warms up, and the sum of the outputs, by which to see that two machines compute the same.
// g++ -O2 -I FOLDER_OF_THE_HEADER count.cc -o count libonnxruntime.so.1 -Wl,-rpath,FOLDER_OF_THE_LIBRARY
#include <onnxruntime_c_api.h>
#include <x86intrin.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <sstream>
#include <string>
#include <vector>

namespace {

const OrtApi* const kApi = OrtGetApiBase()->GetApi(ORT_API_VERSION);

void check(OrtStatus* status) {
  if (!status) return;
  std::fprintf(stderr, "count: %s\n", kApi->GetErrorMessage(status));
  std::exit(1);
}

std::vector<float> inputs(size_t count) {
  std::vector<float> values(count);
  uint32_t seed = 1;
  for (float& value : values) {
    seed = seed * 1664525u + 1013904223u;
    value = 3 * (static_cast<float>(seed >> 8) / (1 << 23) - 1);
  }
  return values;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) {
    std::fprintf(stderr, "count MODEL SIZE ROWS[,ROWS...] [LIBRARY]\n");
    return 2;
  }
  const int64_t size = std::atoll(argv[2]);
  OrtEnv* env;
  check(kApi->CreateEnv(ORT_LOGGING_LEVEL_ERROR, "count", &env));
  OrtSessionOptions* options;
  check(kApi->CreateSessionOptions(&options));
  check(kApi->SetIntraOpNumThreads(options, 1));
  check(kApi->SetInterOpNumThreads(options, 1));
  if (argc > 4) check(kApi->RegisterCustomOpsLibrary_V2(options, argv[4]));
  OrtSession* session;
  check(kApi->CreateSession(env, argv[1], options, &session));
  OrtAllocator* allocator;
  check(kApi->GetAllocatorWithDefaultOptions(&allocator));
  char* output_name;
  check(kApi->SessionGetOutputName(session, 0, allocator, &output_name));
  OrtMemoryInfo* memory;
  check(kApi->CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, &memory));

  std::stringstream list(argv[3]);
  for (std::string item; std::getline(list, item, ',');) {
    const int64_t rows = std::atoll(item.c_str());
    std::vector<float> values = inputs(static_cast<size_t>(rows * size));
    const std::array<int64_t, 2> shape = {rows, size};
    OrtValue* x;
    check(kApi->CreateTensorWithDataAsOrtValue(memory, values.data(), values.size() * sizeof(float), shape.data(), shape.size(),
                                               ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, &x));
    std::array<uint64_t, 3> ticks;
    double sum = 0;
    for (int run = -1; run < static_cast<int>(ticks.size()); ++run) {
      const char* const input_name = "x";
      OrtValue* y = nullptr;
      const uint64_t start = __rdtsc();
      check(kApi->Run(session, nullptr, &input_name, &x, 1, &output_name, 1, &y));
      if (run >= 0) ticks[run] = __rdtsc() - start;
      OrtTensorTypeAndShapeInfo* info;
      check(kApi->GetTensorTypeAndShape(y, &info));
      size_t count;
      check(kApi->GetTensorShapeElementCount(info, &count));
      float* results;
      check(kApi->GetTensorMutableData(y, reinterpret_cast<void**>(&results)));
      sum = 0;
      for (size_t i = 0; i < count; ++i) sum += results[i];
      kApi->ReleaseTensorTypeAndShapeInfo(info);
      kApi->ReleaseValue(y);
    }
    std::sort(ticks.begin(), ticks.end());
    std::printf("rows %lld  ticks %llu  (%llu to %llu)  sum %.6g\n", static_cast<long long>(rows),
                static_cast<unsigned long long>(ticks[1]), static_cast<unsigned long long>(ticks[0]),
                static_cast<unsigned long long>(ticks[2]), sum);
    std::fflush(stdout);
    kApi->ReleaseValue(x);
  }
}
