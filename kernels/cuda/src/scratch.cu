#include "scratch.h"

#include <map>
#include <mutex>

namespace qc::cuda {
namespace {

cudaMemPool_t create_pool(int device) {
  cudaMemPoolProps properties = {};
  properties.allocType = cudaMemAllocationTypePinned;
  properties.location.type = cudaMemLocationTypeDevice;
  properties.location.id = device;
  cudaMemPool_t pool;
  check(cudaMemPoolCreate(&pool, &properties));
  uint64_t kept = UINT64_MAX;
  check(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &kept));
  return pool;
}

// The pool of the current device, which lives as long as the process.
cudaMemPool_t pool() {
  static std::mutex mutex;
  static std::map<int, cudaMemPool_t> pools;
  int device;
  check(cudaGetDevice(&device));
  const std::lock_guard<std::mutex> lock(mutex);
  const auto found = pools.find(device);
  return found != pools.end() ? found->second : pools[device] = create_pool(device);
}

}  // namespace

Scratch::Scratch(size_t bytes, cudaStream_t stream) : stream_(stream) { check(cudaMallocFromPoolAsync(&memory_, bytes, pool(), stream)); }

Scratch::~Scratch() { cudaFreeAsync(memory_, stream_); }

}  // namespace qc::cuda
