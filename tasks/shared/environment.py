"""What of the environment would decide numbers, though no param says it and no key holds it.

How many processes train together is `tasks.shared.role`'s.
"""

import os
import sys

# accelerate reads precision, sharding and compilation from there wherever they are not given, and from what
# MPI sets that there are several processes
ACCELERATES = ("ACCELERATE_", "FSDP_", "MEGATRON_LM_", "PARALLELISM_CONFIG_")
PREFIXES = (*ACCELERATES, "PMI_", "OMPI_COMM_WORLD_", "MV2_COMM_WORLD_")
# where Ray Train says which of a node's devices is a process's
DEVICE = "ACCELERATE_TORCH_DEVICE"
TF32 = "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE"
# in how many digits, and by which kernels, products are computed; the instructions of a CPU are the device's
NAMES = frozenset(
    """
    CUBLASLT_WORKSPACE_SIZE DNNL_DEFAULT_FPMATH_MODE MKL_DISABLE_FAST_MM NVIDIA_TF32_OVERRIDE
    ONEDNN_DEFAULT_FPMATH_MODE TORCH_BLAS_PREFER_CUBLASLT TORCH_CUDNN_USE_HEURISTIC_MODE_B
    TORCH_CUDNN_V8_API_DISABLED TORCH_LINEAR_FLATTEN_3D TORCH_MKLDNN_MATMUL_MIN_DIM
    TORCH_MKLDNN_MATMUL_MIN_SIZE TRANSFORMERS_SDPA_FORCE_GQA
    """.split()  # noqa: SIM905
) | {TF32}


def leave_out() -> None:
    """Take it out of this process's environment, and so of those that it starts: only params decide."""
    for name in [*os.environ]:
        if name == DEVICE or not (name in NAMES or name.startswith(PREFIXES)):
            continue
        del os.environ[name]
        # which PyTorch has read already where it is imported
        if name == TF32 and "torch" in sys.modules:
            sys.modules["torch"].set_float32_matmul_precision("highest")
