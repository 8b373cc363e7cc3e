"""The training loop in a dozen lines, and the same run by `chainrule.train.fit`.

    python examples/training_loop.py

Both end with the same weights, to the bit: `fit` is this loop with tests, records and callbacks around it.

Source: LeCun, Bottou, Orr and Müller, Efficient BackProp, 1998, section 4.1, on stochastic learning; Smith and Topin,
Super-Convergence, 2018, on the schedule.
"""

import numpy as np

import chainrule as cr
from chainrule.train import Callback, fit

EPOCHS, BATCH = 10, 32


def setup():
    """A net, its optimizer, a schedule, and batches of handwritten digits; always the same."""
    (images, labels), (test_images, test_labels) = cr.data.load_digits()
    model = cr.models.MLP(64, (100,), 10, seed=0)
    optimizer = cr.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    loader = cr.data.DataLoader(images.astype(np.float32) / 16, labels, BATCH, seed=0)
    schedule = cr.optim.OneCycleLR(optimizer, max_lr=0.1, total_steps=EPOCHS * len(loader))
    return model, optimizer, schedule, loader, (test_images.astype(np.float32) / 16, test_labels)


def by_hand():
    model, optimizer, schedule, loader, (test_images, test_labels) = setup()
    for epoch in range(1, EPOCHS + 1):
        for images, labels in loader.epoch(epoch):
            loss = cr.softmax_cross_entropy(model(images), labels, label_smoothing=0.1)
            optimizer.zero_grad()
            loss.backward()
            cr.optim.clip_grad_norm(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
        with cr.no_grad():
            right = (model(test_images).numpy().argmax(axis=1) == test_labels).mean()
        print(f"epoch {epoch:2d}  last loss {loss.item():.4f}  test accuracy {100 * right:.2f} %")
    return model


class Print(Callback):
    def epoch_end(self, record):
        print(
            f"epoch {record.epoch:2d}  loss {record.train_loss:.4f}  test accuracy {100 * record.test_accuracy:.2f} %"
        )


def by_fit():
    model, optimizer, schedule, loader, test = setup()
    fit(
        model,
        optimizer,
        loader,
        test,
        range(1, EPOCHS + 1),
        schedule=schedule,
        label_smoothing=0.1,
        clip_norm=1.0,
        callbacks=[Print()],
    )
    return model


def main():
    one, other = by_hand(), by_fit()
    weights = [model.state_dict() for model in (one, other)]
    same = all(weights[0][name].tobytes() == weights[1][name].tobytes() for name in weights[0])
    print("the same weights to the bit:", same)


if __name__ == "__main__":
    main()
