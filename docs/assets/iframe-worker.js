// Browsers start no worker in a page that is opened from disk. Search needs one: here a hidden frame does its work.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      this.frame = document.createElement("iframe")
      this.frame.hidden = true
      // What the work sends goes to the page; further scripts of it are loaded one after the other.
      this.frame.srcdoc = `<body><script>
        window.postMessage = data => parent.postMessage(data, "*")
        window.importScripts = (...urls) => urls.reduce((before, url) => before.then(() => new Promise(loaded =>
          document.body.append(Object.assign(document.createElement("script"), { src: url, onload: loaded }))
        )), Promise.resolve())
      </script><script src="${url}"></script></body>`
      this.isReady = new Promise(resolve => this.frame.addEventListener("load", resolve, { once: true }))
      this.receive = event => {
        if (event.source !== this.frame.contentWindow) return
        const message = new MessageEvent("message", { data: event.data })
        this.dispatchEvent(message)
        this.onmessage?.(message)
      }
      addEventListener("message", this.receive)
      document.body.append(this.frame)
    }

    postMessage(data) {
      this.isReady.then(() => this.frame.contentWindow.dispatchEvent(new MessageEvent("message", { data })))
    }

    terminate() {
      removeEventListener("message", this.receive)
      this.frame.remove()
    }
  }
}
