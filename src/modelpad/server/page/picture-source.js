// Where a picture comes from: a file chosen, dropped or pasted, or the camera.

import { make } from "./dom.js";
import { acceptDrops } from "./drops.js";

// The image of a data: URL, which may come from a link. Rejects anything else.
export const decodePicture = async (url) => {
  if (!/^data:image\/(png|jpeg|webp|gif);base64,/.test(url)) throw new TypeError("not a picture");
  const image = make("img", { src: url });
  await image.decode();
  return image;
};

// The file of such a URL, once it was decoded.
export const readPicture = async (url) => {
  await decodePicture(url);
  const [head, body] = url.split(",");
  return new Blob([Uint8Array.from(atob(body), (each) => each.charCodeAt(0))], { type: head.slice(5, head.indexOf(";")) });
};

export const cameras = new Set(); // what stops each one that is on

// A page that is left, or kept for the Back button, films nobody.
addEventListener("pagehide", () => { for (const stop of cameras) stop(); });

// `target` is what pictures are dropped on, `take` gets a picture as a Blob, and `stage` shows the
// camera's picture: `stage.show(element)`. Returns the elements for the tools, and `stop` for the camera.
// With `many`, it takes any number of pictures, and the camera stays on; pictures are pasted into the
// target that has the focus or the pointer.
export const pictureSource = (id, target, stage, take, many = false) => {
  let stream = null, asked = 0;
  const file = make("input", { type: "file", accept: "image/*", class: "sr", id, tabindex: -1, multiple: many, onchange: () => {
    receiveAll([...file.files]);
    file.value = "";
  } });
  const stop = () => {
    asked++;
    cameras.delete(stop);
    if (!stream) return;
    stream.getTracks().forEach((track) => track.stop());
    stream = null;
    camera.textContent = "Camera";
    stage.rest?.();
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
    const mine = ++asked;
    try {
      const granted = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
      if (mine !== asked) return granted.getTracks().forEach((track) => track.stop()); // left meanwhile
      stream = granted;
      cameras.add(stop);
      const video = make("video", { autoplay: true, playsinline: true, muted: true });
      video.srcObject = stream;
      stage.show(video);
      camera.textContent = "Take image";
    } catch { if (mine === asked) stage.show("The camera is not available."); }
  } }, "Camera");
  acceptDrops(target, ({ type }) => type.startsWith("image/"), receiveAll);
  document.addEventListener("paste", (event) => {
    const pasted = [...(event.clipboardData?.files ?? [])].filter(({ type }) => type.startsWith("image/"));
    if (pasted.length && target.isConnected && (!many || target.matches(":focus-within, :hover"))) receiveAll(pasted);
  });
  return { file, camera: navigator.mediaDevices ? camera : null, stop, choose: () => file.click() };
};
