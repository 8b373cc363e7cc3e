#include "ops/losses.h"

#include <cmath>

#include "bindings/arrays.h"

namespace chainrule::bindings {

namespace {

using Labels = py::array_t<int64_t>;

// Scores (N, C) with C >= 1 and labels (N,).
void check_scores(const Operand& scores, const Labels& labels) {
  auto clash = [&](const std::string& what) {
    std::string label_shape = shape_text(Shape(labels.shape(), labels.shape() + labels.ndim()));
    return std::invalid_argument(std::string(scores.operation()) + ": " + scores.argument() + " " +
                                 shape_text(scores.shape()) + " with labels " + label_shape + ": " + what);
  };
  if (scores.dimensions() != 2) throw clash("give (rows, classes)");
  if (scores.size(1) == 0) throw clash("there are no classes");
  if (labels.ndim() != 1 || labels.size() != scores.size(0)) throw clash("give one label a row");
}

template <class T, class Loss>
py::object losses(Operand& scores, const Labels& labels, const Loss& loss) {
  scores.as<T>();
  check_scores(scores, labels);
  T* out;
  py::object result = new_array<T>(Shape{scores.size(0)}, &out);
  MaybeUnlocked unlocked(8 * scores.elements());
  loss(scores.data<T>(), labels.data(), scores.size(0), scores.size(1), out);
  return result;
}

template <class T, class Gradient>
py::object gradients(Operand& scores, const Labels& labels, Operand& g, const Gradient& gradient) {
  scores.as<T>();
  g.as<T>();
  check_scores(scores, labels);
  const int64_t rows = scores.size(0);
  if (g.dimensions() != 0 && !(g.dimensions() == 1 && g.size(0) == rows))
    throw std::invalid_argument(std::string(g.operation()) + ": gradient " + shape_text(g.shape()) + " for " +
                                std::to_string(rows) + " rows: give one number, or one a row");
  T* out;
  py::object result = new_array<T>(scores.shape(), &out);
  MaybeUnlocked unlocked(8 * scores.elements());
  gradient(scores.data<T>(), labels.data(), rows, scores.size(1), g.data<T>(), g.dimensions(), out);
  return result;
}

}  // namespace

void bind_losses(py::module_& m) {
  m.def(
      "softmax_cross_entropy",
      [](py::handle logits, py::handle label_values, double smoothing) {
        Operand x("softmax_cross_entropy", "logits", logits);
        const Labels y = labels("softmax_cross_entropy", label_values);
        auto loss = [&](auto* s, auto* l, int64_t rows, int64_t classes, auto* out) {
          cross_entropy(s, l, rows, classes, smoothing, out);
        };
        return common_dtype(x) == Dtype::float32 ? losses<float>(x, y, loss) : losses<double>(x, y, loss);
      },
      py::arg("logits"), py::arg("labels"), py::arg("label_smoothing"));
  m.def(
      "softmax_cross_entropy_gradient",
      [](py::handle gradient, py::handle logits, py::handle label_values, double smoothing) {
        Operand g("softmax_cross_entropy", "gradient", gradient),
            x("softmax_cross_entropy", "logits", logits);
        const Labels y = labels("softmax_cross_entropy", label_values);
        auto rule = [&](auto* s, auto* l, int64_t rows, int64_t classes, auto* gs, int64_t step, auto* out) {
          cross_entropy_gradient(s, l, rows, classes, smoothing, gs, step, out);
        };
        return common_dtype(x, g) == Dtype::float32 ? gradients<float>(x, y, g, rule)
                                                    : gradients<double>(x, y, g, rule);
      },
      py::arg("gradient"), py::arg("logits"), py::arg("labels"), py::arg("label_smoothing"));
  m.def(
      "multiclass_hinge",
      [](py::handle scores, py::handle label_values, double delta, bool squared) {
        Operand x("multiclass_hinge", "scores", scores);
        const Labels y = labels("multiclass_hinge", label_values);
        auto loss = [&](auto* s, auto* l, int64_t rows, int64_t classes, auto* out) {
          hinge(s, l, rows, classes, delta, squared, out);
        };
        return common_dtype(x) == Dtype::float32 ? losses<float>(x, y, loss) : losses<double>(x, y, loss);
      },
      py::arg("scores"), py::arg("labels"), py::arg("delta"), py::arg("squared"));
  m.def(
      "multiclass_hinge_gradient",
      [](py::handle gradient, py::handle scores, py::handle label_values, double delta, bool squared) {
        Operand g("multiclass_hinge", "gradient", gradient), x("multiclass_hinge", "scores", scores);
        const Labels y = labels("multiclass_hinge", label_values);
        auto rule = [&](auto* s, auto* l, int64_t rows, int64_t classes, auto* gs, int64_t step, auto* out) {
          hinge_gradient(s, l, rows, classes, delta, squared, gs, step, out);
        };
        return common_dtype(x, g) == Dtype::float32 ? gradients<float>(x, y, g, rule)
                                                    : gradients<double>(x, y, g, rule);
      },
      py::arg("gradient"), py::arg("scores"), py::arg("labels"), py::arg("delta"), py::arg("squared"));
}

}  // namespace chainrule::bindings
