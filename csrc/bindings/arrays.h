// Arrays in, arrays out: reading NumPy arguments without copies where they are contiguous, and results from
// the recycling allocator. Small arrays cross here by the million, so the common case does no more than it
// must.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <optional>

#include "ops/matmul.h"
#include "runtime/checked.h"

namespace chainrule::bindings {

namespace py = pybind11;

enum class Dtype { float32, float64 };

template <class T>
constexpr Dtype dtype_of = sizeof(T) == 4 ? Dtype::float32 : Dtype::float64;

// An argument of a numerical function. Arrays keep their dtype; Python numbers, and lists of them, take that
// of the arrays beside them, or float32; integer arrays beside a floating one are converted to it.
class Operand {
 public:
  // Throws TypeError naming the operation and argument when the value is no number or array of numbers.
  Operand(const char* operation, const char* argument, py::handle value);
  Operand(const Operand&) = delete;  // data_ may point into the object itself
  Operand& operator=(const Operand&) = delete;

  bool has_dtype() const { return kind_ == Kind::float32 || kind_ == Kind::float64; }
  Dtype dtype() const { return kind_ == Kind::float64 ? Dtype::float64 : Dtype::float32; }
  // Whether a result may take its dtype from here when no floating array is beside: an integer array may not.
  bool is_integer_array() const { return kind_ == Kind::integer; }

  // Makes the values available as contiguous T, converting or copying where needed.
  template <class T>
  void as();
  template <class T>
  const T* data() const {
    return static_cast<const T*>(data_);
  }
  int dimensions() const { return dimensions_; }
  int64_t size(int d) const { return sizes_[d]; }
  int64_t elements() const;
  Shape shape() const { return Shape(sizes_, sizes_ + dimensions_); }
  bool same_shape(const Operand& other) const;
  const char* operation() const { return operation_; }
  const char* argument() const { return argument_; }

 private:
  enum class Kind { float32, float64, integer, number };
  void point_at(PyObject* array);

  const char* operation_;
  const char* argument_;
  Kind kind_;
  py::object owned_;                 // keeps a converted array alive
  PyObject* array_ = nullptr;        // borrowed from the caller, or owned_
  double number_ = 0;                // a Python number's value, then
  alignas(8) char storage_[8] = {};  // the same in the wanted type
  const void* data_ = nullptr;
  int dimensions_ = 0;
  const Py_intptr_t* sizes_ = nullptr;
  bool contiguous_ = false;
};

// The dtype that operands agree on: float64 where any array has it, else float32. Throws TypeError when all
// are integer arrays.
Dtype common_dtype(const Operand& a);
Dtype common_dtype(const Operand& a, const Operand& b);

// A strided view of an array of T, for operations that read strides. Throws as Operand does; `keep` holds a
// converted copy where one is needed.
template <class T>
StridedArray<T> strided(const char* operation, const char* argument, py::handle value, py::object& keep);

// Labels as contiguous int64. Throws TypeError for arrays that are not integers.
py::array_t<int64_t> labels(const char* operation, py::handle value);

// A new C-contiguous array. Its memory comes from the recycling allocator unless it is small.
template <class T>
py::object new_array(const Py_intptr_t* shape, int dimensions, T** data);
template <class T>
py::object new_array(const Shape& shape, T** data) {
  return new_array<T>(reinterpret_cast<const Py_intptr_t*>(shape.data()), static_cast<int>(shape.size()),
                      data);
}

// Releases the interpreter's lock around work worth more than releasing it costs.
class MaybeUnlocked {
 public:
  explicit MaybeUnlocked(int64_t work) {
    if (work > (1 << 14)) state_ = PyEval_SaveThread();
  }
  ~MaybeUnlocked() {
    if (state_ != nullptr) PyEval_RestoreThread(state_);
  }
  MaybeUnlocked(const MaybeUnlocked&) = delete;
  MaybeUnlocked& operator=(const MaybeUnlocked&) = delete;

 private:
  PyThreadState* state_ = nullptr;
};

// An operand for a bias, or nothing for None.
class OptionalOperand {
 public:
  OptionalOperand(const char* operation, const char* argument, py::handle value) {
    if (!value.is_none()) operand_.emplace(operation, argument, value);
  }
  Operand* get() { return operand_ ? &*operand_ : nullptr; }

 private:
  std::optional<Operand> operand_;
};

// A bias of `count` values, one for each of what the message calls them; nullptr for none.
template <class T>
const T* bias_data(const char* operation, Operand* bias, int64_t count, const char* what) {
  if (bias == nullptr) return nullptr;
  bias->as<T>();
  if (bias->dimensions() != 1 || bias->size(0) != count)
    throw std::invalid_argument(std::string(operation) + ": bias " + shape_text(bias->shape()) + " for " +
                                std::to_string(count) + " " + what + ": give (" + std::to_string(count) +
                                ",)");
  return bias->data<T>();
}

inline Precision precision_of(bool bfloat16) { return bfloat16 ? Precision::bfloat16 : Precision::full; }

void bind_runtime(py::module_& m);
void bind_elementwise(py::module_& m);
void bind_reduce(py::module_& m);
void bind_matmul(py::module_& m);
void bind_softmax(py::module_& m);
void bind_losses(py::module_& m);
void bind_optimise(py::module_& m);
void bind_conv2d(py::module_& m);
void bind_conv2d_max_pool2d(py::module_& m);
void bind_images(py::module_& m);
void bind_augment(py::module_& m);
void bind_program(py::module_& m);

}  // namespace chainrule::bindings
