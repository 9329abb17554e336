// Threads of a block as fibers of one thread of the CPU. They take turns only where threads wait for each other, in an order that a seed
// changes, so that what depends on a missing barrier comes out wrong.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>

namespace qc::emulated {

struct Place {
  unsigned x = 0, y = 0, z = 0;
};

// Of the thread that runs.
const Place& thread_place();
const Place& block_place();
const Place& block_size();
unsigned lane();
unsigned thread_index();

// Runs `body` for all threads of all blocks.
void run(Place blocks, unsigned threads, size_t shared_bytes, const std::function<void()>& body);
void set_seed(uint32_t seed);

// What a block may ask for.
int max_shared_bytes();
void set_max_shared_bytes(int bytes);

uint8_t* shared_memory();

// What threads that meet do: called by all of a warp, or a block, it runs `combine` once, when all have come; `data` are what each has
// brought, by lane. Threads that come to different meetings, or do not come, end the process with a message.
void meet_warp(const char* what, void* data, const std::function<void(void* const* data)>& combine);
void meet_block(const char* what);

}  // namespace qc::emulated
