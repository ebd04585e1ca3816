import { ApiError, sessionHeader, type Batch } from "@/lib/api/client";

/** Sends a table with its progress, which fetch does not tell. */
export function uploadBatch(file: File, column: string, model: string, onProgress: (share: number) => void): Promise<Batch> {
  const form = new FormData();
  if (column !== "") form.set("text_column", column);
  if (model !== "") form.set("model", model);
  form.set("file", file);
  return new Promise((done, fail) => {
    const request = new XMLHttpRequest();
    request.open("POST", "/api/v1/batches");
    for (const [name, value] of Object.entries(sessionHeader)) request.setRequestHeader(name, value);
    request.responseType = "json";
    request.upload.onprogress = (event) => event.lengthComputable && onProgress(event.loaded / event.total);
    request.onerror = () => fail(new ApiError(0, "unreachable", "The server can't be reached"));
    request.onload = () => {
      const body = request.response as { data?: Batch; error?: { code?: string; message?: string; details?: unknown } } | null;
      if (request.status < 300 && body?.data) done(body.data);
      else fail(new ApiError(request.status, body?.error?.code ?? "http_error", body?.error?.message ?? `The server answered ${request.status}`, body?.error?.details, Number(request.getResponseHeader("Retry-After")) || null));
    };
    request.send(form);
  });
}
