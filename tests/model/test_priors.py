import subprocess
import sys


def test_compressai_is_whole_for_others_and_no_part_of_ours():
    code = (
        "import sys\n"
        "from ecc.model.entropy import EntropyModel\n"
        "from ecc.model.config import EntropyConfig\n"
        "assert 'torch_geometric' not in sys.modules\n"
        "import compressai\n"
        "from compressai.entropy_models import GaussianConditional\n"
        "from compressai.models import CompressionModel\n"
        "assert compressai.get_entropy_coder() == 'ans'\n"
        "model = EntropyModel(EntropyConfig(slices=1, width=8), channels=4, levels=1)\n"
        "model.update()\n"
        "GaussianConditional([1.0]).update()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
