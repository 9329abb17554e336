// Asynchronous copies of a thread. They are done as late as may be, when they are waited for, so that data that is read too soon is wrong.
#pragma once
#include <cstdint>
#include <cstring>
#include <deque>
#include <vector>

namespace qc::emulated {

class Copies {
 public:
  void add(void* to, const void* from, bool exists) { open_.push_back({to, from, exists}); }
  void commit() {
    groups_.push_back(std::move(open_));
    open_.clear();
  }
  void wait(size_t pending) {
    for (; groups_.size() > pending; groups_.pop_front()) {
      for (const Copy& copy : groups_.front()) copy.run();
    }
  }
  void finish() {
    commit();
    wait(0);
  }

 private:
  struct Copy {
    void* to;
    const void* from;
    bool exists;
    void run() const {
      constexpr size_t kBytes = 16;
      if (exists) {
        std::memcpy(to, from, kBytes);
      } else {
        std::memset(to, 0, kBytes);
      }
    }
  };
  std::vector<Copy> open_;
  std::deque<std::vector<Copy>> groups_;
};

Copies& copies();

}  // namespace qc::emulated
