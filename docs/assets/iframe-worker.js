// Search in pages that are opened from the file system, where browsers start no workers: the
// worker's script runs in a hidden frame instead. Its name keeps the offline plugin from adding
// a script of another host for the same purpose.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.body.append(frame);
      const inner = frame.contentWindow;
      this.ready = new Promise((resolve) => {
        const page = inner.document;
        page.open();
        page.write("<!doctype html><body></body>");
        page.close();
        // What the script calls on itself goes to this page.
        inner.postMessage = (data) => {
          const copy = structuredClone(data);
          setTimeout(() => this.dispatchEvent(new MessageEvent("message", { data: copy })));
        };
        const script = page.createElement("script");
        script.src = url;
        script.onload = () => resolve(inner);
        page.body.append(script);
      });
    }

    postMessage(data) {
      this.ready.then((inner) => inner.dispatchEvent(new MessageEvent("message", { data })));
    }
  };
}
