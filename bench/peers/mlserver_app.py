"""MLServer: v2 JSON only, with a custom runtime for the graph."""

import asyncio
import sys
from pathlib import Path

import numpy as np
from mlserver import MLModel, MLServer, ModelSettings, Settings
from mlserver.types import InferenceRequest, InferenceResponse, ResponseOutput


class Model(MLModel):
    async def load(self) -> bool:
        from model import predict

        self.run = predict
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        tensor = payload.inputs[0]
        image = np.asarray(tensor.data.root, np.float32).reshape(tensor.shape)
        scores = self.run(image)
        data = scores.ravel().tolist()
        output = ResponseOutput(name="label", shape=scores.shape, datatype="FP32", data=data)
        return InferenceResponse(model_name=self.name, outputs=[output])


async def main(port: int, workers: int, batch: int) -> None:
    settings = Settings(
        debug=False,
        host="127.0.0.1",
        http_port=port,
        grpc_port=port + 1,
        metrics_endpoint=None,
        parallel_workers=workers,
        gzip_enabled=False,
        load_models_at_startup=False,
    )
    model = ModelSettings(
        name="digits",
        implementation="mlserver_app.Model",
        max_batch_size=batch,
        max_batch_time=0.001 if batch else 0,
    )
    server = MLServer(settings)
    await server.start([model])


if __name__ == "__main__":
    sys.path.insert(0, str(Path.cwd()))
    asyncio.run(main(*(int(word) for word in sys.argv[1:])))
