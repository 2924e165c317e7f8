"""The data of the course: CIFAR-10 (datasets.cifar10) and a drawn stand-in (datasets.synthetic)."""
