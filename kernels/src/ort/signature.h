// What a port of an operator is; the table of all operators is generated (table.h).
#pragma once
#include <cstddef>

namespace qc {

// kT: the type parameter of the operator, f32, f16 or bf16.
enum class Element { kT, kF32, kU8, kI8, kI32 };

struct Port {
  const char* name;
  Element element;
  bool optional;
};

struct Ports {
  const Port* list;
  size_t count;
  const Port* begin() const { return list; }
  const Port* end() const { return list + count; }
};

struct Signature {
  const char* name;
  Ports inputs;
  Ports outputs;
};

}  // namespace qc
