// Reading JavaScript values. Every fault is thrown as std::runtime_error and turned into a JavaScript error by
// `call`, the only wrapper through which functions are exported.
#pragma once

#include <node_api.h>

#include <cstdint>
#include <exception>
#include <stdexcept>
#include <string>
#include <vector>

namespace millrace {

/** A typed array's contents, valid during the call. */
template <class T>
struct Span {
  T* data = nullptr;
  int64_t length = 0;
};

/** Arguments of one call. */
class Args {
 public:
  static constexpr size_t maxCount = 32;

  Args(napi_env env, napi_callback_info info) : env_(env) {
    require(napi_get_cb_info(env, info, &count_, values_, nullptr, nullptr));
  }

  napi_env env() const { return env_; }
  napi_value value(size_t index) const {
    if (index >= count_ || index >= maxCount) throw std::runtime_error("an argument is missing");
    return values_[index];
  }

  int64_t integer(size_t index) const {
    int64_t result = 0;
    require(napi_get_value_int64(env_, value(index), &result));
    return result;
  }
  float number(size_t index) const {
    double result = 0;
    require(napi_get_value_double(env_, value(index), &result));
    return static_cast<float>(result);
  }
  bool flag(size_t index) const {
    bool result = false;
    require(napi_get_value_bool(env_, value(index), &result));
    return result;
  }
  std::string text(size_t index) const {
    size_t length = 0;
    require(napi_get_value_string_utf8(env_, value(index), nullptr, 0, &length));
    std::string result(length, '\0');
    require(napi_get_value_string_utf8(env_, value(index), result.data(), length + 1, &length));
    return result;
  }
  template <class T>
  T& external(size_t index) const {
    void* result = nullptr;
    require(napi_get_value_external(env_, value(index), &result));
    return *static_cast<T*>(result);
  }

  Span<float> floats(size_t index, int64_t atLeast = 0) const {
    return array<float>(value(index), napi_float32_array, atLeast);
  }
  Span<double> doubles(size_t index, int64_t atLeast = 0) const {
    return array<double>(value(index), napi_float64_array, atLeast);
  }
  Span<int32_t> ints(size_t index, int64_t atLeast = 0) const {
    return array<int32_t>(value(index), napi_int32_array, atLeast);
  }
  Span<uint32_t> words(size_t index, int64_t atLeast = 0) const {
    return array<uint32_t>(value(index), napi_uint32_array, atLeast);
  }
  Span<uint8_t> bytes(size_t index, int64_t atLeast = 0) const {
    return array<uint8_t>(value(index), napi_uint8_array, atLeast);
  }
  bool isNull(size_t index) const { return typeOf(value(index)) == napi_null; }

  napi_value property(napi_value object, const char* name) const {
    napi_value result = nullptr;
    require(napi_get_named_property(env_, object, name, &result));
    return result;
  }
  int64_t integerOf(napi_value object, const char* name) const {
    int64_t result = 0;
    require(napi_get_value_int64(env_, property(object, name), &result));
    return result;
  }
  bool isNull(napi_value object, const char* name) const { return typeOf(property(object, name)) == napi_null; }
  template <class T>
  Span<T> arrayOf(napi_value object, const char* name, napi_typedarray_type type, int64_t atLeast) const {
    return array<T>(property(object, name), type, atLeast);
  }

  static void require(napi_status status) {
    if (status != napi_ok) throw std::runtime_error("an argument has the wrong type");
  }

 private:
  napi_valuetype typeOf(napi_value value) const {
    napi_valuetype type = napi_undefined;
    require(napi_typeof(env_, value, &type));
    return type;
  }

  template <class T>
  Span<T> array(napi_value value, napi_typedarray_type wanted, int64_t atLeast) const {
    napi_typedarray_type type;
    size_t length = 0;
    void* data = nullptr;
    require(napi_get_typedarray_info(env_, value, &type, &length, &data, nullptr, nullptr));
    if (type != wanted) throw std::runtime_error("a typed array has the wrong element type");
    if (static_cast<int64_t>(length) < atLeast) throw std::runtime_error("a typed array is too short");
    return {static_cast<T*>(data), static_cast<int64_t>(length)};
  }

  napi_env env_;
  size_t count_ = maxCount;
  napi_value values_[maxCount];
};

inline napi_value makeInteger(napi_env env, int64_t value) {
  napi_value result = nullptr;
  Args::require(napi_create_int64(env, value, &result));
  return result;
}

inline napi_value makeNumber(napi_env env, double value) {
  napi_value result = nullptr;
  Args::require(napi_create_double(env, value, &result));
  return result;
}

inline napi_value makeFlag(napi_env env, bool value) {
  napi_value result = nullptr;
  Args::require(napi_get_boolean(env, value, &result));
  return result;
}

inline napi_value makeText(napi_env env, const std::string& value) {
  napi_value result = nullptr;
  Args::require(napi_create_string_utf8(env, value.data(), value.size(), &result));
  return result;
}

inline napi_value makeArray(napi_env env, const std::vector<napi_value>& items) {
  napi_value result = nullptr;
  Args::require(napi_create_array_with_length(env, items.size(), &result));
  for (size_t i = 0; i < items.size(); ++i) {
    Args::require(napi_set_element(env, result, static_cast<uint32_t>(i), items[i]));
  }
  return result;
}

/** Runs `function` and turns what it throws into a JavaScript error. */
template <napi_value (*function)(const Args&)>
napi_value call(napi_env env, napi_callback_info info) {
  try {
    return function(Args(env, info));
  } catch (const std::bad_alloc&) {
    napi_throw_error(env, "out_of_memory", "The system gave no more memory to the native kernels.");
  } catch (const std::exception& error) {
    napi_throw_error(env, nullptr, error.what());
  }
  return nullptr;
}

}  // namespace millrace
