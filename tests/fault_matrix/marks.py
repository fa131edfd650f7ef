"""What every test here is: slow, of many processes, and on the one worker that owns the installation."""

import pytest

MATRIX = [pytest.mark.slow, pytest.mark.concurrency, pytest.mark.xdist_group("fault_matrix")]
