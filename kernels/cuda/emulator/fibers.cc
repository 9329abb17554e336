#include "emulator/fibers.h"

#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <numeric>
#include <random>
#include <vector>

#include "emulator/copies.h"

namespace qc::emulated {
namespace {

constexpr size_t kStackBytes = 256 * 1024;
constexpr unsigned kWarp = 32;

// A context is only for the first entry: to change it takes a system call, to jump does not.
struct Fiber {
  ucontext_t context;
  jmp_buf place;
  bool entered = false;
  unsigned index;
  bool finished = false;
  // The meeting that it waits at, or null.
  const char* waits = nullptr;
  Copies copies;
};

struct Warp {
  unsigned arrived = 0;
  const char* what = nullptr;
  void* data[kWarp] = {};
};

[[noreturn]] void fail(const char* what, const char* detail) {
  std::fprintf(stderr, "emulated kernel: %s %s\n", what, detail);
  std::abort();
}

struct Block {
  std::vector<Fiber> fibers;
  std::vector<Warp> warps;
  std::vector<uint8_t> shared;
  uint8_t* shared_start = nullptr;
  Place place, size;
  jmp_buf scheduler;
  Fiber* current = nullptr;
  unsigned at_barrier = 0;
  const std::function<void()>* body = nullptr;
};

Block* block = nullptr;
uint32_t seed = 0;
// That of sm_90.
int of_block = 227 * 1024;
Place thread_of_current;

void yield() {
  if (_setjmp(block->current->place) == 0) _longjmp(block->scheduler, 1);
}

void enter() {
  (*block->body)();
  block->current->copies.finish();
  block->current->finished = true;
  _longjmp(block->scheduler, 1);
}

// Stacks are kept: to map them anew costs more than most kernels do.
char* stack_of(unsigned index) {
  static std::vector<std::unique_ptr<char[]>> stacks;
  while (stacks.size() <= index) stacks.push_back(std::make_unique<char[]>(kStackBytes));
  return stacks[index].get();
}

void start(Fiber& fiber) {
  getcontext(&fiber.context);
  fiber.context.uc_stack.ss_sp = stack_of(fiber.index);
  fiber.context.uc_stack.ss_size = kStackBytes;
  fiber.context.uc_link = nullptr;
  fiber.entered = false;
  fiber.finished = false;
  fiber.waits = nullptr;
  makecontext(&fiber.context, enter, 0);
}

void resume(Fiber& fiber) {
  block->current = &fiber;
  thread_of_current.x = fiber.index;
  if (_setjmp(block->scheduler) != 0) return;
  if (fiber.entered) _longjmp(fiber.place, 1);
  fiber.entered = true;
  setcontext(&fiber.context);
}

// Lets every fiber run until it waits or is done, again and again.
void run_block(std::mt19937& random) {
  std::vector<Fiber*> order;
  for (Fiber& fiber : block->fibers) {
    start(fiber);
    order.push_back(&fiber);
  }
  for (;;) {
    if (seed) std::shuffle(order.begin(), order.end(), random);
    bool moved = false;
    bool all_finished = true;
    for (Fiber* fiber : order) {
      if (fiber->finished) continue;
      all_finished = false;
      if (fiber->waits) continue;
      resume(*fiber);
      moved = true;
    }
    if (all_finished) return;
    if (!moved) {
      for (const Fiber& fiber : block->fibers) {
        if (!fiber.finished) fail("some threads never come to", fiber.waits);
      }
    }
  }
}

}  // namespace

const Place& thread_place() { return thread_of_current; }
const Place& block_place() { return block->place; }
const Place& block_size() { return block->size; }
unsigned thread_index() { return thread_of_current.x; }
unsigned lane() { return thread_of_current.x % kWarp; }
uint8_t* shared_memory() { return block->shared_start; }
Copies& copies() { return block->current->copies; }
void set_seed(uint32_t value) { seed = value; }
int max_shared_bytes() { return of_block; }
void set_max_shared_bytes(int bytes) { of_block = bytes; }

void run(Place blocks, unsigned threads, size_t shared_bytes, const std::function<void()>& body) {
  if (shared_bytes > static_cast<size_t>(of_block)) fail("a block asks for more shared memory than there is:", "set_max_shared_bytes");
  Block of_run;
  std::mt19937 random(seed);
  of_run.fibers.resize(threads);
  for (unsigned i = 0; i < threads; ++i) of_run.fibers[i].index = i;
  of_run.size = {threads, 1, 1};
  of_run.body = &body;
  constexpr size_t kAlignment = 1024;
  block = &of_run;
  for (unsigned y = 0; y < blocks.y; ++y) {
    for (unsigned x = 0; x < blocks.x; ++x) {
      of_run.place = {x, y, 0};
      of_run.warps.assign((threads + kWarp - 1) / kWarp, Warp());
      // What is there before it is written are neither zeros nor the last block's.
      of_run.shared.assign(shared_bytes + kAlignment, 0xCD);
      const auto address = reinterpret_cast<uintptr_t>(of_run.shared.data());
      of_run.shared_start = of_run.shared.data() + (kAlignment - address % kAlignment) % kAlignment;
      run_block(random);
    }
  }
  block = nullptr;
}

void meet_warp(const char* what, void* data, const std::function<void(void* const* data)>& combine) {
  const unsigned index = thread_index();
  Warp& warp = block->warps[index / kWarp];
  if (warp.arrived > 0 && std::strcmp(warp.what, what) != 0) fail("the threads of a warp come to different things:", what);
  warp.what = what;
  warp.data[index % kWarp] = data;
  if (++warp.arrived < kWarp) {
    block->current->waits = what;
    yield();
    return;
  }
  combine(warp.data);
  warp.arrived = 0;
  Fiber* fibers = &block->fibers[index / kWarp * kWarp];
  for (unsigned i = 0; i < kWarp; ++i) fibers[i].waits = nullptr;
}

void meet_block(const char* what) {
  unsigned alive = 0;
  for (const Fiber& fiber : block->fibers) alive += !fiber.finished;
  if (++block->at_barrier < alive) {
    block->current->waits = what;
    yield();
    return;
  }
  block->at_barrier = 0;
  for (Fiber& fiber : block->fibers) fiber.waits = nullptr;
}

}  // namespace qc::emulated
