import numpy as np
import pytest

from actorrl.data import columns as c


def test_flat_rows_must_be_equally_many():
    c.check_rows({c.OBS: np.zeros((5, 4)), c.ACTIONS: np.zeros(5)}, 5)
    with pytest.raises(ValueError, match="column 'actions'"):
        c.check_rows({c.OBS: np.zeros((5, 4)), c.ACTIONS: np.zeros(4)}, 5)
