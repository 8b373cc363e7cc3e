// Augmentation of the images of a batch.
#include <pybind11/stl.h>

#include <array>

#include "bindings/arrays.h"
#include "ops/augment.h"

namespace chainrule::bindings {

namespace {

template <class T>
using Contiguous = py::array_t<T, py::array::c_style>;

template <class T>
bool holds(const py::array& a) {
  return py::isinstance<Contiguous<T>>(a) && (a.flags() & py::detail::npy_api::NPY_ARRAY_ALIGNED_) != 0;
}

Shape shape_of(const py::array& a) { return Shape(a.shape(), a.shape() + a.ndim()); }

// A table for bytes, none for floats.
const float* table_for(const py::array& images, const Shape& shape, const py::object& table) {
  if (holds<float>(images)) {
    if (table.is_none()) return nullptr;
    throw std::invalid_argument("augment: images are float32, and a table is for uint8: leave it out");
  }
  if (!holds<uint8_t>(images))
    throw py::type_error("augment: images are " + std::string(py::str(images.dtype())) + " of shape " +
                         shape_text(shape) + ": give a C-contiguous array of float32 or uint8");
  if (!py::isinstance<py::array>(table) || !holds<float>(py::reinterpret_borrow<py::array>(table)))
    throw py::type_error("augment: images are uint8 and need a table of 256 x channels, float32");
  const auto values = py::reinterpret_borrow<py::array>(table);
  if (shape.size() == 4 && shape_of(values) != Shape{256, shape[3]})
    throw std::invalid_argument("augment: a table " + shape_text(shape_of(values)) + " for images " +
                                shape_text(shape) + ": give (256, " + std::to_string(shape[3]) + ")");
  return static_cast<const float*>(values.data());
}

}  // namespace

void bind_augment(py::module_& m) {
  m.def(
      "augment",
      [](const py::array& images, const py::object& table, const py::array& indices, int flip,
         int64_t translate, bool reflect, const std::array<int64_t, 2>& crop, int64_t cutout, uint64_t seed,
         int64_t epoch) {
        const Shape shape = shape_of(images);
        const float* values = table_for(images, shape, table);
        if (flip < 0 || flip > 2)
          throw std::invalid_argument("augment: flip " + std::to_string(flip) + ": give 0, 1 or 2");
        const Augmentation how{
            static_cast<Augmentation::Flip>(flip), translate, reflect, crop[0], crop[1], cutout, seed};
        if (!holds<int64_t>(indices))
          throw py::type_error("augment: indices are " + std::string(py::str(indices.dtype())) +
                               ": give a contiguous array of int64");
        const auto chosen = py::reinterpret_borrow<Contiguous<int64_t>>(indices);
        if (chosen.ndim() != 1)
          throw std::invalid_argument("augment: indices " + shape_text(shape_of(chosen)) +
                                      " are not a list: give (batch,)");
        const int64_t batch = chosen.shape(0);
        check_augment(shape, batch, how, epoch);
        float* out;
        py::object result = new_array<float>(Shape{batch, how.crop_height, how.crop_width, shape[3]}, &out);
        {
          MaybeUnlocked unlocked(batch * how.crop_height * how.crop_width);
          if (values == nullptr)
            augment<float>(shape, static_cast<const float*>(images.data()), values, chosen.data(), batch, how,
                           epoch, out);
          else
            augment<uint8_t>(shape, static_cast<const uint8_t*>(images.data()), values, chosen.data(), batch,
                             how, epoch, out);
        }
        return result;
      },
      py::arg("images"), py::arg("table"), py::arg("indices"), py::arg("flip"), py::arg("translate"),
      py::arg("reflect"), py::arg("crop"), py::arg("cutout"), py::arg("seed"), py::arg("epoch"));
}

}  // namespace chainrule::bindings
