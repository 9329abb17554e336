// The few functions of Node-API that the loader calls: a stable C ABI, whose headers are not everywhere where Node is.
#pragma once
#include <cstddef>

extern "C" {

using napi_env = struct napi_env__*;
using napi_value = struct napi_value__*;
using napi_callback_info = struct napi_callback_info__*;
using napi_callback = napi_value (*)(napi_env, napi_callback_info);
enum napi_status : int { napi_ok = 0 };

napi_status napi_create_function(napi_env, const char* name, size_t length, napi_callback, void* data, napi_value* result);
napi_status napi_set_named_property(napi_env, napi_value object, const char* name, napi_value value);
napi_status napi_get_cb_info(napi_env, napi_callback_info, size_t* argc, napi_value* argv, napi_value* receiver, void** data);
napi_status napi_get_value_string_utf8(napi_env, napi_value, char* buffer, size_t capacity, size_t* length);
napi_status napi_create_string_utf8(napi_env, const char* text, size_t length, napi_value* result);
napi_status napi_get_boolean(napi_env, bool value, napi_value* result);
napi_status napi_throw_error(napi_env, const char* code, const char* message);
}
