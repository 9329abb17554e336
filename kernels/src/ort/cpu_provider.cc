#include <exception>
#include <mutex>

#include "cpu/cpu_device.h"
#include "ort/provider.h"
#include "ort/status.h"

namespace qc::ort {
namespace {

// A loop on the threads of the runtime, which must not see exceptions: the first one is kept.
struct Loop {
  const std::function<void(size_t)>& body;
  std::mutex mutex = {};
  std::exception_ptr error = nullptr;

  static void step(void* loop, size_t i) noexcept { static_cast<Loop*>(loop)->step(i); }
  void step(size_t i) noexcept {
    try {
      body(i);
    } catch (...) {
      const std::lock_guard<std::mutex> lock(mutex);
      if (!error) error = std::current_exception();
    }
  }
};

}  // namespace

std::unique_ptr<Device> cpu_device(const OrtApi& api, OrtKernelContext* context) {
  return std::make_unique<CpuDevice>([&api, context](size_t count, const std::function<void(size_t)>& body) {
    if (count <= 1) return serially(count, body);
    Loop loop{body};
    check(api, api.KernelContext_ParallelFor(context, Loop::step, count, 0, &loop));
    if (loop.error) std::rethrow_exception(loop.error);
  });
}

}  // namespace qc::ort
