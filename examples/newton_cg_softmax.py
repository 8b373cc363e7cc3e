"""Newton-CG on a softmax classifier of handwritten digits, from Hessian-vector products alone.

    python examples/newton_cg_softmax.py

The Hessian of 650 weights would have 422,500 entries; it is never built. Conjugate gradients solve H p = -g to a
tolerance that tightens with the gradient, each iteration with one product H v from `cr.hvp`, and the step is halved
until the loss falls enough.

Source: Baydin et al., Automatic Differentiation in Machine Learning: a Survey, 2018, section 4.1; Nocedal and
Wright, Numerical Optimization, 2006, algorithm 7.1; Pearlmutter, Fast Exact Multiplication by the Hessian, 1994.
"""

import numpy as np

import chainrule as cr


def digits():
    """The 1,442 training digits as rows of 64 numbers in [0, 1] and a 1, in float64, and their labels."""
    images, labels = cr.data.load_digits().train
    x = images.reshape(len(images), -1) / 16.0
    return cr.append_ones(x), labels


def softmax_loss(x, labels, l2):
    """w -> the mean cross-entropy of softmax(x w) plus l2 times the sum of squares: smooth and strictly convex."""
    return lambda w: cr.softmax_cross_entropy(cr.matmul(x, w), labels) + l2 * cr.sum(cr.square(w))


def conjugate_gradients(product, g, tolerance, most):
    """p with H p = -g up to `tolerance`, from products alone, and how many it took."""
    p, residual = np.zeros_like(g), -g
    direction, squared = residual, np.vdot(residual, residual)
    for count in range(1, most + 1):
        h = product(direction)
        step = squared / np.vdot(direction, h)
        p = p + step * direction
        residual = residual - step * h
        before, squared = squared, np.vdot(residual, residual)
        if np.sqrt(squared) <= tolerance:
            return p, count
        direction = residual + squared / before * direction
    return p, most


def newton_cg(loss, w, steps=50, tolerance=1e-10, most_products=500):
    """The minimum, and for each step (loss, gradient's norm, products)."""
    history = []
    value_and_gradient = cr.value_and_grad(loss)
    for _ in range(steps):
        value, g = value_and_gradient(w)
        norm = np.linalg.norm(g)
        if norm < tolerance:
            break
        p, products = conjugate_gradients(
            lambda v, w=w: cr.hvp(loss, (w,), (v,)), g, min(0.5, np.sqrt(norm)) * norm, most_products
        )
        history.append((float(value), norm, products))
        step, slope = 1.0, np.vdot(g, p)
        while float(loss(w + step * p)) > float(value) + 1e-4 * step * slope and step > 1e-10:
            step /= 2
        w = w + step * p
    return w, history


def main():
    x, labels = digits()
    loss = softmax_loss(x, labels, l2=1e-4)
    w, history = newton_cg(loss, np.zeros((x.shape[1], 10)))
    print("step          loss    |gradient|   products H v")
    for k, (value, norm, products) in enumerate(history):
        print(f"{k:4d} {value:13.10f} {norm:13.3e} {products:10d}")
    accuracy = np.mean(np.argmax(cr.matmul(x, w), axis=1) == labels)
    print(f"|gradient| at the end {np.linalg.norm(cr.grad(loss)(w)):.1e}, training accuracy {accuracy:.4f}")


if __name__ == "__main__":
    main()
