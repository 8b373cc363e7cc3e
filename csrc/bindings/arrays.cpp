#include "bindings/arrays.h"

#include "runtime/allocator.h"

namespace chainrule::bindings {

namespace {

using py::detail::npy_api;

const npy_api& numpy() {
  static const npy_api& api = npy_api::get();
  return api;
}

py::detail::PyArray_Proxy* proxy(PyObject* array) { return py::detail::array_proxy(array); }

int type_number(PyObject* array) { return py::detail::array_descriptor_proxy(proxy(array)->descr)->type_num; }

bool is_array(PyObject* object) { return numpy().PyArray_Check_(object); }

constexpr int contiguous_flag = npy_api::NPY_ARRAY_C_CONTIGUOUS_;
constexpr int aligned_flag = npy_api::NPY_ARRAY_ALIGNED_;

bool native_order(PyObject* array) {
  char order = py::detail::array_descriptor_proxy(proxy(array)->descr)->byteorder;
  return order == '=' || order == '|' || order == (PY_LITTLE_ENDIAN ? '<' : '>');
}

[[noreturn]] void wrong_type(const char* operation, const char* argument, const std::string& got) {
  throw py::type_error(std::string(operation) + ": " + argument + " is " + got +
                       ": give a float32 or float64 array, a Tensor of one, or a number");
}

std::string type_name(PyObject* object) {
  if (is_array(object))
    return "an array of " +
           std::string(py::str(py::handle(reinterpret_cast<PyObject*>(proxy(object)->descr))));
  return std::string("a ") + Py_TYPE(object)->tp_name;
}

// Whether the dtype kind is one of those given, as NumPy's letters.
bool kind_is(PyObject* array, const char* kinds) {
  char kind = py::detail::array_descriptor_proxy(proxy(array)->descr)->kind;
  for (; *kinds != '\0'; ++kinds)
    if (kind == *kinds) return true;
  return false;
}

// From here on, results come from the recycling allocator; below, NumPy's own small-block cache is quicker.
constexpr int64_t recycled_bytes = 16 << 10;

struct Block {
  void* memory;
  size_t bytes;
};

void give_back(PyObject* capsule) {
  auto* block = static_cast<Block*>(PyCapsule_GetPointer(capsule, nullptr));
  release(block->memory, block->bytes);
  delete block;
}

template <class T>
constexpr int numpy_type = npy_api::NPY_FLOAT_;
template <>
constexpr int numpy_type<double> = npy_api::NPY_DOUBLE_;
template <>
constexpr int numpy_type<int64_t> = npy_api::NPY_LONG_;
static_assert(sizeof(long) == sizeof(int64_t), "64-bit platforms with a 64-bit long");

}  // namespace

void Operand::point_at(PyObject* array) {
  array_ = array;
  auto* p = proxy(array);
  data_ = p->data;
  dimensions_ = p->nd;
  sizes_ = p->dimensions;
  contiguous_ = (p->flags & contiguous_flag) != 0 && (p->flags & aligned_flag) != 0 && native_order(array);
}

Operand::Operand(const char* operation, const char* argument, py::handle value)
    : operation_(operation), argument_(argument) {
  PyObject* object = value.ptr();
  if (is_array(object)) {
    int type = type_number(object);
    if (type == npy_api::NPY_FLOAT_)
      kind_ = Kind::float32;
    else if (type == npy_api::NPY_DOUBLE_)
      kind_ = Kind::float64;
    else if (kind_is(object, "iub"))
      kind_ = Kind::integer;
    else
      wrong_type(operation, argument, type_name(object));
    point_at(object);
    return;
  }
  if (PyFloat_CheckExact(object) || PyLong_Check(object)) {
    kind_ = Kind::number;
    number_ = PyFloat_AsDouble(object);
    if (number_ == -1.0 && PyErr_Occurred()) {
      PyErr_Clear();
      throw std::invalid_argument(std::string(operation) + ": " + argument + " is an integer beyond float64");
    }
    return;
  }
  if (PyList_Check(object) || PyTuple_Check(object))
    for (py::handle item : value)
      if (py::hasattr(item, "requires_grad"))
        throw py::type_error(std::string(operation) + ": " + argument +
                             " is a list that holds Tensors, whose graphs would be lost: stack them first");
  // NumPy scalars keep their dtype; lists of Python numbers do not have one.
  const bool has_own_dtype = py::hasattr(value, "dtype");
  owned_ = py::reinterpret_steal<py::object>(numpy().PyArray_FromAny_(object, nullptr, 0, 0, 0, nullptr));
  if (!owned_) {
    PyErr_Clear();
    wrong_type(operation, argument, type_name(object));
  }
  int type = type_number(owned_.ptr());
  if (type == npy_api::NPY_FLOAT_)
    kind_ = Kind::float32;
  else if (type == npy_api::NPY_DOUBLE_)
    kind_ = has_own_dtype ? Kind::float64 : Kind::number;
  else if (kind_is(owned_.ptr(), "iub"))
    kind_ = has_own_dtype ? Kind::integer : Kind::number;
  else
    wrong_type(operation, argument, type_name(object));
  point_at(owned_.ptr());
}

template <class T>
void Operand::as() {
  const bool right_type =
      (kind_ == Kind::float32 && sizeof(T) == 4) || (kind_ == Kind::float64 && sizeof(T) == 8);
  if (right_type && contiguous_) return;
  if (array_ == nullptr) {
    *reinterpret_cast<T*>(storage_) = static_cast<T>(number_);
    data_ = storage_;
    return;
  }
  constexpr int force = npy_api::NPY_ARRAY_FORCECAST_;
  auto converted = py::reinterpret_steal<py::object>(
      numpy().PyArray_FromAny_(array_, numpy().PyArray_DescrFromType_(numpy_type<T>), 0, 0,
                               contiguous_flag | aligned_flag | force, nullptr));
  if (!converted) throw py::error_already_set();
  owned_ = std::move(converted);
  point_at(owned_.ptr());
  kind_ = sizeof(T) == 4 ? Kind::float32 : Kind::float64;
}
template void Operand::as<float>();
template void Operand::as<double>();

int64_t Operand::elements() const {
  int64_t count = 1;
  for (int d = 0; d < dimensions_; ++d) count *= sizes_[d];
  return count;
}

bool Operand::same_shape(const Operand& other) const {
  if (dimensions_ != other.dimensions_) return false;
  for (int d = 0; d < dimensions_; ++d)
    if (sizes_[d] != other.sizes_[d]) return false;
  return true;
}

namespace {
[[noreturn]] void integers_only(const Operand& a) {
  throw py::type_error(std::string(a.operation()) + ": " + a.argument() +
                       " is an integer array: convert it with .astype(np.float32) first");
}
}  // namespace

Dtype common_dtype(const Operand& a) {
  if (a.is_integer_array()) integers_only(a);
  return a.dtype();
}

Dtype common_dtype(const Operand& a, const Operand& b) {
  if (!a.has_dtype() && !b.has_dtype()) {
    if (a.is_integer_array()) integers_only(a);
    if (b.is_integer_array()) integers_only(b);
  }
  return a.dtype() == Dtype::float64 || b.dtype() == Dtype::float64 ? Dtype::float64 : Dtype::float32;
}

template <class T>
StridedArray<T> strided(const char* operation, const char* argument, py::handle value, py::object& keep) {
  PyObject* object = value.ptr();
  auto readable = [&](PyObject* o) {
    if (!is_array(o) || type_number(o) != numpy_type<T> || !native_order(o)) return false;
    if ((proxy(o)->flags & aligned_flag) == 0) return false;
    for (int d = 0; d < proxy(o)->nd; ++d)
      if (proxy(o)->strides[d] % static_cast<Py_intptr_t>(sizeof(T)) != 0) return false;
    return true;
  };
  if (!readable(object)) {
    Operand operand(operation, argument, value);
    operand.as<T>();
    py::object copy;
    T* data;
    Shape shape = operand.shape();
    copy = new_array<T>(shape, &data);
    std::copy(operand.data<T>(), operand.data<T>() + operand.elements(), data);
    keep = std::move(copy);
    object = keep.ptr();
  }
  auto* p = proxy(object);
  StridedArray<T> view{reinterpret_cast<const T*>(p->data), {}, {}};
  for (int d = 0; d < p->nd; ++d) {
    view.shape.push_back(p->dimensions[d]);
    view.strides.push_back(p->strides[d] / static_cast<Py_intptr_t>(sizeof(T)));
  }
  return view;
}
template StridedArray<float> strided<float>(const char*, const char*, py::handle, py::object&);
template StridedArray<double> strided<double>(const char*, const char*, py::handle, py::object&);

py::array_t<int64_t> labels(const char* operation, py::handle value) {
  auto array =
      py::reinterpret_steal<py::object>(numpy().PyArray_FromAny_(value.ptr(), nullptr, 0, 0, 0, nullptr));
  if (!array) {
    PyErr_Clear();
    throw py::type_error(std::string(operation) + ": labels are " + type_name(value.ptr()) +
                         ": give an array of integers");
  }
  // An empty list has no kind of its own.
  if (!kind_is(array.ptr(), "iu") &&
      !(PySequence_Check(value.ptr()) && !is_array(value.ptr()) && py::len(value) == 0))
    throw py::type_error(std::string(operation) + ": labels are " + type_name(array.ptr()) +
                         ": give class numbers as an integer array");
  return py::array_t<int64_t, py::array::c_style | py::array::forcecast>(array);
}

template <class T>
py::object new_array(const Py_intptr_t* shape, int dimensions, T** data) {
  int64_t count = 1;
  for (int d = 0; d < dimensions; ++d) count = checked_multiply(count, shape[d], "new array");
  const int64_t bytes = checked_multiply(count, sizeof(T), "new array");
  py::object base;
  void* memory = nullptr;
  if (bytes >= recycled_bytes) {
    try {
      memory = allocate(static_cast<size_t>(bytes));
    } catch (const std::bad_alloc&) {
      PyErr_SetString(PyExc_MemoryError,
                      ("a result of shape " + shape_text(Shape(shape, shape + dimensions)) + " takes " +
                       std::to_string(bytes) + " bytes, more than there are")
                          .c_str());
      throw py::error_already_set();
    }
    auto* block = new Block{memory, static_cast<size_t>(bytes)};
    base = py::reinterpret_steal<py::object>(PyCapsule_New(block, nullptr, give_back));
    if (!base) {
      release(memory, static_cast<size_t>(bytes));
      delete block;
      throw py::error_already_set();
    }
  }
  constexpr int writeable = npy_api::NPY_ARRAY_WRITEABLE_;
  auto array = py::reinterpret_steal<py::object>(numpy().PyArray_NewFromDescr_(
      numpy().PyArray_Type_, numpy().PyArray_DescrFromType_(numpy_type<T>), dimensions,
      const_cast<Py_intptr_t*>(shape), nullptr, memory,
      memory == nullptr ? 0 : writeable | contiguous_flag | aligned_flag, nullptr));
  if (!array) throw py::error_already_set();
  if (memory != nullptr && numpy().PyArray_SetBaseObject_(array.ptr(), base.release().ptr()) < 0)
    throw py::error_already_set();
  *data = reinterpret_cast<T*>(proxy(array.ptr())->data);
  return array;
}
template py::object new_array<float>(const Py_intptr_t*, int, float**);
template py::object new_array<double>(const Py_intptr_t*, int, double**);
template py::object new_array<int64_t>(const Py_intptr_t*, int, int64_t**);

}  // namespace chainrule::bindings
