# The study and all it needs, on Debian bookworm, x86-64; docs/sharing.md says how to run it.
FROM python:3.11-slim-bookworm

# The packages that workflow/install wants, and git for DVC.
RUN apt-get update && apt-get install -y --no-install-recommends \
    codec2 speex sox liblc3-tools libvo-amrwbenc0 libopencore-amrwb0 libbcg729-0 \
    nodejs npm gcc g++ git \
    && rm -rf /var/lib/apt/lists/*

# `data` too: a volume belongs to who owns the folder that it is mounted on, and else to root.
RUN useradd --create-home ecc && install -d -o ecc /ecc /ecc/data
USER ecc
WORKDIR /ecc

# First what seldom changes: every file as locked, or the build fails.
COPY --chown=ecc requirements.lock .
RUN python3.11 -m venv .venv && .venv/bin/pip install --no-cache-dir --no-deps --require-hashes -r requirements.lock

COPY --chown=ecc . .
RUN bash -c 'source workflow/install'
ENV VIRTUAL_ENV=/ecc/.venv PATH=/ecc/.venv/bin:$PATH
ENTRYPOINT ["workflow/study"]
