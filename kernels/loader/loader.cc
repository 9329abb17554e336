// A Node addon that lets sessions of stock onnxruntime-node use a library of custom operators, for which its JavaScript has no call.
//
// It is loaded with RTLD_GLOBAL before onnxruntime_binding.node. Its OrtGetApiBase is then the one that the binding finds, and hands out
// a copy of ONNX Runtime's table of functions in which AddSessionConfigEntry is ours: the entry "qc.kernels", which JavaScript sets with
// { extra: { qc: { kernels: PATH } } }, registers the library at that path with the session's options. All else is ONNX Runtime's own.
#include <dlfcn.h>
#include <link.h>

#include <algorithm>
#include <atomic>
#include <climits>
#include <cstdint>
#include <cstring>
#include <mutex>

#include "napi.h"
#include "ort/abi.h"

namespace {

constexpr char kEntry[] = "qc.kernels";
constexpr char kBinding[] = "onnxruntime_binding.node";

// The table only ever grows at its end, so a later ONNX Runtime has more functions than the header that this was compiled with.
constexpr size_t kMostBytes = 1024 * sizeof(void*);
static_assert(sizeof(OrtApi) <= kMostBytes);

struct Interposed {
  std::atomic<const OrtApiBase*> base = nullptr;
  std::mutex mutex;  // of api and table
  const OrtApi* api = nullptr;
  alignas(void*) unsigned char table[kMostBytes];
};
Interposed interposed;

OrtStatus* add_session_config_entry(OrtSessionOptions* options, const char* key, const char* value) noexcept {
  if (std::strcmp(key, kEntry) == 0) return interposed.api->RegisterCustomOpsLibrary_V2(options, value);
  return interposed.api->AddSessionConfigEntry(options, key, value);
}

// How many bytes can be read from here on: up to the end of the segment of the library that holds it.
size_t readable_from(const void* start) {
  struct Search {
    uintptr_t at;
    size_t bytes;
  } search = {reinterpret_cast<uintptr_t>(start), 0};
  dl_iterate_phdr(
      [](dl_phdr_info* library, size_t, void* data) {
        auto* found = static_cast<Search*>(data);
        for (int i = 0; i < library->dlpi_phnum; ++i) {
          const auto& segment = library->dlpi_phdr[i];
          const uintptr_t begin = library->dlpi_addr + segment.p_vaddr;
          if (segment.p_type != PT_LOAD || found->at < begin || found->at >= begin + segment.p_memsz) continue;
          found->bytes = begin + segment.p_memsz - found->at;
          return 1;
        }
        return 0;
      },
      &search);
  return search.bytes;
}

const OrtApi* get_api(uint32_t version) noexcept {
  const OrtApi* api = interposed.base.load()->GetApi(version);
  const std::lock_guard lock(interposed.mutex);
  auto* table = reinterpret_cast<OrtApi*>(interposed.table);
  if (api == nullptr || api == interposed.api) return api == nullptr ? nullptr : table;
  std::memcpy(interposed.table, api, std::min(kMostBytes, readable_from(api)));
  table->AddSessionConfigEntry = add_session_config_entry;
  interposed.api = api;
  return table;
}

const char* get_version_string() noexcept { return interposed.base.load()->GetVersionString(); }

constexpr OrtApiBase kBase = {get_api, get_version_string};

bool is_binding(const char* path) {
  const char* slash = std::strrchr(path, '/');
  return std::strcmp(slash == nullptr ? path : slash + 1, kBinding) == 0;
}

// The OrtGetApiBase among a library and what it was linked with: what the library would call if this addon were not there.
const OrtApiBase* base_behind(const char* library) {
  void* handle = dlopen(library, RTLD_LAZY | RTLD_NOLOAD);
  if (handle == nullptr) return nullptr;
  auto* get_base = reinterpret_cast<const OrtApiBase* (*)()>(dlsym(handle, "OrtGetApiBase"));
  const OrtApiBase* base = get_base == nullptr ? nullptr : get_base();
  // The caller holds the library; it may come and go with the worker threads that load it.
  dlclose(handle);
  return base;
}

bool is_loaded(const char* library) {
  void* handle = dlopen(library, RTLD_LAZY | RTLD_NOLOAD);
  if (handle != nullptr) dlclose(handle);
  return handle != nullptr;
}

// ready(): whether sessions can register a library, which they cannot when the binding was loaded before this addon.
napi_value ready(napi_env env, napi_callback_info) {
  napi_value result = nullptr;
  napi_get_boolean(env, interposed.base != nullptr || !is_loaded(kBinding), &result);
  return result;
}

// level(path): the instruction set on which the library at this path runs here.
napi_value level(napi_env env, napi_callback_info info) {
  char path[PATH_MAX];
  size_t count = 1, length = 0;
  napi_value argument = nullptr, result = nullptr;
  napi_get_cb_info(env, info, &count, &argument, nullptr, nullptr);
  if (napi_get_value_string_utf8(env, argument, path, sizeof(path), &length) != napi_ok) {
    napi_throw_error(env, nullptr, "level() takes the path of a library");
    return nullptr;
  }
  // Never closed: sessions need it, and load it faster when it is there.
  void* library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  auto* get_level = library == nullptr ? nullptr : reinterpret_cast<const char* (*)()>(dlsym(library, "QcKernelsLevel"));
  if (get_level == nullptr) {
    napi_throw_error(env, nullptr, dlerror());
    return nullptr;
  }
  napi_create_string_utf8(env, get_level(), std::strlen(get_level()), &result);
  return result;
}

void export_function(napi_env env, napi_value exports, const char* name, napi_callback function) {
  napi_value value = nullptr;
  napi_create_function(env, name, std::strlen(name), function, nullptr, &value);
  napi_set_named_property(env, exports, name, value);
}

}  // namespace

#define QC_EXPORT extern "C" __attribute__((visibility("default")))

QC_EXPORT const OrtApiBase* OrtGetApiBase() noexcept {
  Dl_info caller;
  if (dladdr(__builtin_return_address(0), &caller) == 0 || caller.dli_fname == nullptr) return nullptr;
  const OrtApiBase* base = base_behind(caller.dli_fname);
  if (base == nullptr || !is_binding(caller.dli_fname)) return base;
  interposed.base = base;
  return &kBase;
}

QC_EXPORT int32_t node_api_module_get_api_version_v1() { return 8; }

QC_EXPORT napi_value napi_register_module_v1(napi_env env, napi_value exports) {
  export_function(env, exports, "ready", ready);
  export_function(env, exports, "level", level);
  return exports;
}
