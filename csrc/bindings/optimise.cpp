// Optimizer steps: a list of groups in, their weights and states changed in place.
//
// A group is a tuple (settings, weights, gradients, states, steps): a dict of settings by name; lists of
// arrays, one for each parameter; a dict of such lists for the state; and this step's number for each
// parameter. A gradient that is None leaves its parameter out. All is checked before anything is changed.
#include "ops/optimise.h"

#include <algorithm>
#include <string_view>

#include "bindings/arrays.h"

namespace chainrule::bindings {

namespace {

class Settings {
 public:
  Settings(const char* optimizer, py::dict values) : optimizer_(optimizer), values_(std::move(values)) {}
  const char* optimizer() const { return optimizer_; }

  py::handle get(const char* name) const {
    PyObject* value = PyDict_GetItemString(values_.ptr(), name);
    if (value == nullptr)
      throw std::invalid_argument(std::string(optimizer_) + ": setting " + name + " is missing");
    return value;
  }
  double number(const char* name, py::handle value) const {
    const double result = PyFloat_AsDouble(value.ptr());
    if (result == -1 && PyErr_Occurred() != nullptr) {
      if (PyErr_ExceptionMatches(PyExc_TypeError) == 0 && PyErr_ExceptionMatches(PyExc_ValueError) == 0 &&
          PyErr_ExceptionMatches(PyExc_OverflowError) == 0)
        throw py::error_already_set();
      PyErr_Clear();
      throw py::type_error(std::string(optimizer_) + ": " + name + " = " +
                           static_cast<std::string>(py::repr(value)) + ": give a number");
    }
    return result;
  }
  double number(const char* name) const { return number(name, get(name)); }
  bool flag(const char* name) const {
    const int result = PyObject_IsTrue(get(name).ptr());
    if (result < 0) throw py::error_already_set();
    return result != 0;
  }

 private:
  const char* optimizer_;
  py::dict values_;
};

SgdSettings read(const Settings& s, SgdSettings) {
  return {s.number("lr"), s.number("momentum"), s.number("weight_decay"), s.flag("nesterov"),
          s.flag("decoupled")};
}

AdamSettings read(const Settings& s, AdamSettings) {
  const py::handle betas = s.get("betas");
  if (!(py::isinstance<py::tuple>(betas) || py::isinstance<py::list>(betas)) || py::len(betas) != 2)
    throw std::invalid_argument(std::string(s.optimizer()) + ": betas = " +
                                static_cast<std::string>(py::repr(betas)) + ": give two numbers");
  const auto pair = py::reinterpret_borrow<py::sequence>(betas);
  return {s.number("lr"),
          s.number("betas[0]", pair[0]),
          s.number("betas[1]", pair[1]),
          s.number("eps"),
          s.number("weight_decay"),
          s.flag("amsgrad"),
          std::string_view(s.optimizer()) == "AdamW"};
}

RmspropSettings read(const Settings& s, RmspropSettings) {
  return {s.number("lr"),           s.number("alpha"),    s.number("eps"),
          s.number("weight_decay"), s.number("momentum"), s.flag("centered")};
}

AdagradSettings read(const Settings& s, AdagradSettings) {
  return {s.number("lr"), s.number("lr_decay"), s.number("eps"), s.number("weight_decay"),
          s.number("initial_accumulator_value")};
}

// One parameter's arrays. What is changed in place must be writeable, contiguous and of the right dtype and
// size, for a copy would lose the change.
template <class T>
class Arrays {
 public:
  // `number` counts the parameters of all groups, `index` those of this one.
  Arrays(const char* optimizer, size_t number, size_t index, const py::tuple& group,
         std::vector<py::object>& keep)
      : optimizer_(optimizer), number_(number), index_(index), group_(group) {
    const py::handle array = list(group[1], "weights")[index];
    weight = writable("parameter", array, true);
    weight_ = py::reinterpret_borrow<py::array>(array);
    size = weight_.size();
    auto values =
        py::array_t<T, py::array::c_style | py::array::forcecast>::ensure(list(group[2], "gradients")[index]);
    if (!values) {
      PyErr_Clear();
      throw py::type_error(text("gradient") + " is not an array of numbers");
    }
    if (!same_shape(values))
      throw std::invalid_argument(text("gradient") + " has shape " + shape(values) + ", its parameter " +
                                  shape(weight_));
    gradient = values.data();
    keep.push_back(std::move(values));
  }

  T* state(const char* name) const {
    PyObject* arrays = PyDict_GetItemString(group_[3].ptr(), name);
    if (arrays == nullptr) throw std::invalid_argument(text(name) + " is missing");
    return writable(name, list(arrays, name)[index_], false);
  }
  int64_t step() const { return py::cast<int64_t>(list(group_[4], "steps")[index_]); }

  T* weight;
  const T* gradient;
  int64_t size;

 private:
  std::string text(const char* what) const {
    return std::string(optimizer_) + ": " + what + " " + std::to_string(number_);
  }
  py::list list(py::handle value, const char* name) const {
    if (!py::isinstance<py::list>(value) || py::len(value) <= index_)
      throw std::invalid_argument(text(name) + " is missing: give a list with one for each parameter");
    return py::reinterpret_borrow<py::list>(value);
  }
  static std::string shape(const py::array& array) {
    return static_cast<std::string>(py::str(array.attr("shape")));
  }
  bool same_shape(const py::array& array) const {
    return array.ndim() == weight_.ndim() &&
           std::equal(array.shape(), array.shape() + array.ndim(), weight_.shape());
  }
  T* writable(const char* what, py::handle value, bool is_weight) const {
    if (!py::isinstance<py::array_t<T>>(value))
      throw std::invalid_argument(text(what) + (is_weight ? " is not an array of float32 or float64"
                                                          : " is not an array of its parameter's dtype"));
    auto array = py::reinterpret_borrow<py::array>(value);
    if (!array.writeable()) throw std::invalid_argument(text(what) + " is read-only: copy it");
    if ((array.flags() & py::array::c_style) == 0)
      throw std::invalid_argument(text(what) + " is not C-contiguous: use np.ascontiguousarray");
    if (!is_weight && !same_shape(array))
      throw std::invalid_argument(text(what) + " has shape " + shape(array) + ", its parameter " +
                                  shape(weight_));
    return static_cast<T*>(array.mutable_data());
  }

  const char* optimizer_;
  size_t number_, index_;
  const py::tuple& group_;
  py::array weight_;
};

template <class T>
SgdParameter<T> parameter(const Arrays<T>& a, const SgdSettings& s) {
  return {a.weight, a.gradient, s.momentum == 0 ? nullptr : a.state("velocity"), a.size};
}

template <class T>
AdamParameter<T> parameter(const Arrays<T>& a, const AdamSettings& s) {
  return {a.weight,
          a.gradient,
          a.state("exp_avg"),
          a.state("exp_avg_sq"),
          s.amsgrad ? a.state("max_exp_avg_sq") : nullptr,
          a.size,
          a.step()};
}

template <class T>
RmspropParameter<T> parameter(const Arrays<T>& a, const RmspropSettings& s) {
  return {a.weight,
          a.gradient,
          a.state("square_avg"),
          s.centered ? a.state("grad_avg") : nullptr,
          s.momentum == 0 ? nullptr : a.state("momentum_buffer"),
          a.size};
}

template <class T>
AdagradParameter<T> parameter(const Arrays<T>& a, const AdagradSettings&) {
  return {a.weight, a.gradient, a.state("sum"), a.size, a.step()};
}

// Reads the groups, and runs both functions with the lock released: each on the parameters of its dtype.
template <class AnySettings, class Single, class Double>
void update(const char* optimizer, const py::list& groups, void (*run_single)(const std::vector<Single>&),
            void (*run_double)(const std::vector<Double>&)) {
  std::vector<Single> singles;
  std::vector<Double> doubles;
  std::vector<py::object> keep;
  size_t number = 0;
  for (const py::handle item : groups) {
    if (!py::isinstance<py::tuple>(item) || py::len(item) != 5)
      throw py::type_error(std::string(optimizer) +
                           ": a group is a tuple (settings, weights, gradients, states, steps)");
    const auto group = py::reinterpret_borrow<py::tuple>(item);
    if (!py::isinstance<py::dict>(group[0]) || !py::isinstance<py::list>(group[1]) ||
        !py::isinstance<py::list>(group[2]) || !py::isinstance<py::dict>(group[3]) ||
        py::len(group[1]) != py::len(group[2]))
      throw py::type_error(std::string(optimizer) +
                           ": give settings and states as dicts, as many gradients as weights as lists");
    const AnySettings settings = read(Settings(optimizer, group[0]), AnySettings{});
    singles.push_back({settings, {}});
    doubles.push_back({settings, {}});
    const py::list weights = group[1], gradients = group[2];
    for (size_t i = 0; i < weights.size(); ++i, ++number) {
      if (gradients[i].is_none()) continue;
      if (py::isinstance<py::array_t<double>>(weights[i]))
        doubles.back().parameters.push_back(
            parameter(Arrays<double>(optimizer, number, i, group, keep), settings));
      else
        singles.back().parameters.push_back(
            parameter(Arrays<float>(optimizer, number, i, group, keep), settings));
    }
  }
  py::gil_scoped_release unlocked;
  run_single(singles);
  run_double(doubles);
}

}  // namespace

void bind_optimise(py::module_& m) {
  m.def(
      "sgd_step",
      [](const py::list& groups) { update<SgdSettings>("SGD", groups, sgd_step<float>, sgd_step<double>); },
      py::arg("groups"));
  m.def(
      "adam_step",
      [](const py::list& groups) {
        update<AdamSettings>("Adam", groups, adam_step<float>, adam_step<double>);
      },
      py::arg("groups"));
  m.def(
      "adamw_step",
      [](const py::list& groups) {
        update<AdamSettings>("AdamW", groups, adam_step<float>, adam_step<double>);
      },
      py::arg("groups"));
  m.def(
      "rmsprop_step",
      [](const py::list& groups) {
        update<RmspropSettings>("RMSprop", groups, rmsprop_step<float>, rmsprop_step<double>);
      },
      py::arg("groups"));
  m.def(
      "adagrad_step",
      [](const py::list& groups) {
        update<AdagradSettings>("Adagrad", groups, adagrad_step<float>, adagrad_step<double>);
      },
      py::arg("groups"));
}

}  // namespace chainrule::bindings
