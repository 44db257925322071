// Where a picture comes from: a file chosen, dropped or pasted, or the camera.

import { make } from "./dom.js";

// `target` is what pictures are dropped on, `take` gets a picture as a Blob, and `stage` shows the
// camera's picture: `stage.show(element)`. Returns the elements for the tools, and `stop` for the camera.
// With `many`, it takes any number of pictures, and the camera stays on; pictures are pasted into the
// target that has the focus or the pointer.
export const pictureSource = (id, target, stage, take, many = false) => {
  let stream = null;
  const file = make("input", { type: "file", accept: "image/*", class: "sr", id, multiple: many, onchange: () => {
    receiveAll([...file.files]);
    file.value = "";
  } });
  const stop = () => {
    stream?.getTracks().forEach((track) => track.stop());
    stream = null;
    camera.textContent = "Camera";
  };
  const receive = (blob) => { if (!many) stop(); take(blob); };
  const receiveAll = (blobs) => { for (const blob of many ? blobs : blobs.slice(0, 1)) receive(blob); };
  const camera = make("button", { type: "button", onclick: async () => {
    if (stream) {
      const video = stage.element.querySelector("video");
      const sheet = make("canvas", { width: video.videoWidth, height: video.videoHeight });
      sheet.getContext("2d").drawImage(video, 0, 0);
      return sheet.toBlob(receive, "image/png");
    }
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
      const video = make("video", { autoplay: true, playsinline: true, muted: true });
      video.srcObject = stream;
      stage.show(video);
      camera.textContent = "Take image";
    } catch { stage.show("The camera is not available."); }
  } }, "Camera");
  target.addEventListener("dragover", (event) => { event.preventDefault(); target.classList.add("over"); });
  target.addEventListener("dragleave", () => target.classList.remove("over"));
  target.addEventListener("drop", (event) => {
    event.preventDefault();
    target.classList.remove("over");
    receiveAll([...event.dataTransfer.files]);
  });
  document.addEventListener("paste", (event) => {
    const pasted = [...(event.clipboardData?.files ?? [])].filter(({ type }) => type.startsWith("image/"));
    if (target.isConnected && (!many || target.matches(":focus-within, :hover"))) receiveAll(pasted);
  });
  return { file, camera: navigator.mediaDevices ? camera : null, stop, choose: () => file.click() };
};
