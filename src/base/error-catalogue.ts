/** Who has to act on an error; decides exit code and the default HTTP status. */
export type ErrorKind = "caller" | "capacity" | "environment" | "bug";

export interface CatalogueEntry {
  readonly kind: ErrorKind;
  /** HTTP status where the kind's default (caller 400, capacity 503, others 500) does not fit. */
  readonly status?: number;
  /** When it happens; the generated reference page prints this. */
  readonly when: string;
  /** What its reader can do. */
  readonly remedy: string;
}

/** Every error that a person or a program can act on. Callers switch on the code, never on the text. */
export const errorCatalogue = {
  // Requests
  invalid_request: {
    kind: "caller",
    when: "A request body or one of its fields does not have the form that the endpoint takes.",
    remedy: "Change the field named in `param`.",
  },
  malformed_json: {
    kind: "caller",
    when: "A request body is not JSON.",
    remedy: "Send a JSON object with the header `content-type: application/json`.",
  },
  model_not_found: {
    kind: "caller",
    status: 404,
    when: "A request names a model that this server does not serve.",
    remedy: "Use one of the names listed by `GET /v1/models`, or leave the field out.",
  },
  route_not_found: {
    kind: "caller",
    status: 404,
    when: "A request goes to a path that this server does not have.",
    remedy: "See the list of paths in the message.",
  },
  method_not_allowed: {
    kind: "caller",
    status: 405,
    when: "A path exists, but not for this HTTP method.",
    remedy: "Use the method named in the `allow` header.",
  },
  unauthorized: {
    kind: "caller",
    status: 401,
    when: "The server wants an API key and the request has none, or a wrong one.",
    remedy: "Send `Authorization: Bearer KEY`.",
  },
  forbidden: {
    kind: "caller",
    status: 403,
    when: "An API key does not open what a path is for.",
    remedy: "Use a key with the scope that the message names.",
  },
  host_not_allowed: {
    kind: "caller",
    status: 421,
    when: "A request to a server without keys on loopback has a `Host` header of another name, as web pages send that lead their own name here.",
    remedy: "Call it by `localhost` or an address; or start it with --allowed-hosts, or with keys.",
  },
  origin_not_allowed: {
    kind: "caller",
    status: 403,
    when: "A web page of another site calls a server without keys.",
    remedy: "Start the server with --allowed-origins and the page's origin, or with keys.",
  },
  unsupported_media_type: {
    kind: "caller",
    status: 415,
    when: "A path that changes the server gets a body that is not called JSON.",
    remedy: "Send the header `content-type: application/json`.",
  },
  rate_limited: {
    kind: "capacity",
    status: 429,
    when: "A key, or the whole server, has used up its requests or tokens of this second or minute.",
    remedy: "Try again after the time in the `retry-after` header, or ask for fewer tokens.",
  },
  client_disconnected: {
    kind: "caller",
    status: 499,
    when: "A client is gone before its answer is complete. It does not see this; metrics do.",
    remedy: "Wait for the answer, or give the client a longer timeout.",
  },
  request_too_large: {
    kind: "caller",
    status: 413,
    when: "A request body is larger than the server's limit.",
    remedy: "Send a shorter prompt or raise --max-body-size.",
  },
  context_length_exceeded: {
    kind: "caller",
    when: "The prompt, or the prompt with the asked output tokens, does not fit into the context.",
    remedy:
      "Shorten the prompt or ask for fewer tokens; where the model has more positions, start with a larger --max-model-len.",
  },
  request_never_fits: {
    kind: "caller",
    when: "A request needs more KV blocks than the whole cache has.",
    remedy: "Ask for fewer tokens or start with a larger KV cache.",
  },
  engine_overloaded: {
    kind: "capacity",
    when: "The waiting queue is full, in requests or in prompt tokens.",
    remedy: "Try again after the time in the `retry-after` header.",
  },
  tenant_queue_full: {
    kind: "capacity",
    status: 429,
    when: "One tenant has as many waiting requests as it may have; others are still served.",
    remedy: "Send fewer requests at once; try again after the time in the `retry-after` header.",
  },
  deadline_unreachable: {
    kind: "capacity",
    when: "The work ahead of a request takes longer than its deadline allows, so it is not begun.",
    remedy: "Give it more time, or try again after the time in the `retry-after` header.",
  },
  deadline_exceeded: {
    kind: "capacity",
    status: 504,
    when: "The deadline of a request passed while it waited or ran.",
    remedy: "Give it more time, or ask for fewer tokens.",
  },
  server_not_ready: {
    kind: "capacity",
    when: "The server is still loading the model, or is shutting down.",
    remedy: "Wait until `GET /health` answers 200.",
  },
  engine_failed: {
    kind: "bug",
    when: "The engine stopped by a fault of its own.",
    remedy: "Restart the server and report the message with the log.",
  },
  engine_closed: {
    kind: "capacity",
    when: "A request meets an engine that is closed, or that closes before the answer is complete.",
    remedy: "Send it to a running server, or start a new engine.",
  },
  answer_incomplete: {
    kind: "caller",
    when: "An answer that has to be a whole object is cut by maxTokens, or by a stop of the request's own.",
    remedy: "Give more maxTokens, or a schema with shorter answers.",
  },
  no_token_allowed: {
    kind: "caller",
    when: "A request's own constraints (allowed tokens, bad words, biases, min_tokens) forbid every token.",
    remedy: "Allow more tokens, ban fewer, or lower min_tokens.",
  },
  model_not_finite: {
    kind: "environment",
    when: "The model computes a value that is not a number; mostly its weights hold NaN or infinity.",
    remedy: "Fetch or convert the model again; where a value only overflows, run with --activations f32.",
  },
  model_degenerate: {
    kind: "caller",
    when: "A model that was just quantised answers with nothing but one token or with values that are not numbers, and its float model does not.",
    remedy: "Use more bits, another method, or leave linears dense.",
  },
  engine_stalled: {
    kind: "bug",
    status: 503,
    when: "A health check finds that the engine is silent, or that one step takes far too long.",
    remedy: "Restart the server; report the message with the log.",
  },
  // Files
  file_not_found: {
    kind: "environment",
    when: "A path does not exist or cannot be read.",
    remedy: "Check the path and its permissions.",
  },
  invalid_model_file: {
    kind: "environment",
    when: "A model file is truncated, damaged or hostile: a length, an offset or a count does not add up.",
    remedy: "Fetch the file again; compare its size and hash with the source's.",
  },
  invalid_data_file: {
    kind: "environment",
    when: "A data file (prompts, token ids, evaluation rows) does not have the expected form.",
    remedy: "Change the file at the place named in the message.",
  },
  unsupported_architecture: {
    kind: "caller",
    when: "The model's architecture has no definition here.",
    remedy: "Use a model of one of the families listed in the message.",
  },
  unsupported_format: {
    kind: "caller",
    when: "A weight format, tensor type or tokenizer kind is known or unknown, but not supported.",
    remedy: "Convert the model to one of the formats listed in the message.",
  },
  tensor_missing: {
    kind: "environment",
    when: "A tensor that the model's configuration asks for is not in its files.",
    remedy: "Fetch the model again; check that all shards are there.",
  },
  no_tokenizer: {
    kind: "caller",
    when: "The model comes without a tokenizer and the command needs text.",
    remedy: "Give one with --tokenizer (a folder, a tokenizer.json or a GGUF file).",
  },
  no_chat_template: {
    kind: "caller",
    when: "A chat was asked of a model that has no chat template.",
    remedy: "Use the completions endpoint or give --chat-template.",
  },
  chat_template_failed: {
    kind: "caller",
    when: "The chat template refused the messages, or --chat-template names a file that is no template.",
    remedy: "Change the messages as the template's own message says, or correct the template.",
  },
  out_of_memory: {
    kind: "capacity",
    when: "Weights and KV cache would not fit into the free memory, or quantising into --max-memory.",
    remedy: "Use the flag named in the message.",
  },
  budget_unmet: {
    kind: "caller",
    when: "No way of quantising that was tried keeps within --budget.",
    remedy: "Loosen the limit that the message names, or give --calibration.",
  },
  nothing_to_compare: {
    kind: "caller",
    when: "Two evaluations have no document in common.",
    remedy: "Evaluate both with the same --tasks, --split and --data.",
  },
  invalid_adapter: {
    kind: "caller",
    when: "An adapter's files cannot be read, do not add up, or were not made for the model.",
    remedy: "Fetch or export the adapter again; use one that was made for this very model.",
  },
  unsupported_adapter: {
    kind: "caller",
    when: "An adapter is more than low-rank matrices of the layers' linears, or of a higher rank than allowed.",
    remedy: "Train it without what the message names, raise --max-lora-rank, or merge it into the weights.",
  },
  model_asleep: {
    kind: "capacity",
    when: "A request is for a model that was put to sleep.",
    remedy: "Wake it by `POST /wake_up`, or use another model.",
  },
  model_exists: {
    kind: "caller",
    status: 409,
    when: "A model is to be served under a name that another model or adapter of the server has.",
    remedy: "Choose another name; to load a known model again, leave the path out.",
  },
  adapter_exists: {
    kind: "caller",
    status: 409,
    when: "An adapter is to be loaded under a name that a model or another adapter has.",
    remedy: "Choose another name, or unload the other adapter first.",
  },
  too_many_adapters: {
    kind: "capacity",
    status: 409,
    when: "As many adapters are loaded as --max-cpu-loras allows.",
    remedy: "Unload one, or start with a higher --max-cpu-loras.",
  },
  adapter_not_found: {
    kind: "caller",
    status: 404,
    when: "A request is for an adapter that is not loaded, or not any more.",
    remedy: "Use one of the names listed by `GET /v1/models`, or load the adapter.",
  },
  // Command line and environment
  invalid_option: {
    kind: "caller",
    when: "A command-line option has a value that it does not take.",
    remedy: "Use a value named in the message; `--help` explains each.",
  },
  native_unavailable: {
    kind: "environment",
    when: "The native backend was asked for but the addon is not built, or cannot be loaded here.",
    remedy: "Install g++ or clang++ and run `npx millrace doctor --build`.",
  },
  isa_unavailable: {
    kind: "caller",
    when: "MILLRACE_ISA names an instruction set that this machine or this build does not have.",
    remedy: "Use one of the sets that `millrace doctor` lists.",
  },
  port_in_use: {
    kind: "environment",
    when: "The address to listen on is taken, or may not be used.",
    remedy: "Choose another --port, or stop the process that holds it.",
  },
  insecure_bind: {
    kind: "caller",
    when: "The server was told to listen beyond loopback without an API key.",
    remedy: "Give --api-key, or say --insecure if you mean it.",
  },
  disk_full: {
    kind: "environment",
    when: "There is not enough room for what is to be written, or it ran out on the way.",
    remedy: "Free space or choose another --out; nothing half-written was left under the final name.",
  },
  output_unwritable: {
    kind: "environment",
    when: "The place of an output takes none: no permission, a file in the way, a read-only file system.",
    remedy: "Choose another --out: a writable folder, or a new one inside one.",
  },
  output_exists: {
    kind: "caller",
    when: "The output folder already holds files, or another run is writing it.",
    remedy: "Choose another --out, remove it, or wait for the other run.",
  },
  interrupted: {
    kind: "caller",
    when: "Long work was stopped by Ctrl-C, SIGTERM or SIGHUP.",
    remedy:
      "Run the same command again. A flow keeps its finished steps and the answers of the step it was in; quantize keeps finished matrices; evaluate keeps answers with --journal; other commands begin anew.",
  },
  // Quantise, evaluate, bench, flow
  invalid_scheme: {
    kind: "caller",
    when: "A quantisation scheme is unknown or does not fit the model's shapes.",
    remedy: "Use a scheme or a group size named in the message.",
  },
  already_quantized: {
    kind: "caller",
    when: "The model to quantise already holds integer weights.",
    remedy: "Start from the float model, or give --dtype bfloat16 to dequantise first.",
  },
  evaluation_unsupported: {
    kind: "caller",
    when: "A task needs something of the model that it cannot give: log-likelihoods, written answers, a chat template.",
    remedy: "Choose other tasks, or reach the model in another way, as the message says.",
  },
  sandbox_unavailable: {
    kind: "environment",
    when: "A task runs programs that the model wrote, and no sandbox for them can be made.",
    remedy: "Run it on Linux with user namespaces, util-linux and python3, or leave the task out.",
  },
  invalid_task: {
    kind: "caller",
    when: "A task or group file has a key, a value or a function that cannot be used.",
    remedy:
      "Change the line that the message names; what needs code goes into a JavaScript or TypeScript module.",
  },
  unknown_task: {
    kind: "caller",
    when: "An evaluation task is not known.",
    remedy: "Use a task that `millrace evaluate --tasks list` prints.",
  },
  endpoint_failed: {
    kind: "environment",
    when: "A server under test refused, failed or died.",
    remedy: "Look at that server's log; the records up to then are kept.",
  },
  endpoint_unreachable: {
    kind: "environment",
    when: "No server answers at the URL.",
    remedy: "Start the server, or correct the URL.",
  },
  // Hub
  hub_unreachable: {
    kind: "environment",
    when: "The hub that a model or a data set should come from does not answer, or breaks off again and again.",
    remedy: "Check the network and HF_ENDPOINT; run the same command again, it goes on from what has come.",
  },
  hub_not_found: {
    kind: "caller",
    when: "The hub has no repository of that name, or no such revision, configuration or split of it.",
    remedy: "Correct the name, the revision, or what the task names.",
  },
  hub_forbidden: {
    kind: "caller",
    when: "A repository on the hub is gated or private, and there is no token that may read it.",
    remedy: "Ask its owner for access, and set HF_TOKEN.",
  },
  hub_damaged: {
    kind: "environment",
    when: "What came from the hub is not what its list of files says: another digest or length.",
    remedy: "Run the same command again; the damaged file was removed.",
  },
  model_not_cached: {
    kind: "caller",
    when: "A model is not in the cache, and the hub may not be asked or the command works on the cache alone.",
    remedy: "Run `millrace pull`, or unset HF_HUB_OFFLINE.",
  },
  dataset_not_cached: {
    kind: "caller",
    when: "A data set of a task is not in the cache, and the hub may not be asked.",
    remedy: "Unset HF_HUB_OFFLINE once, or give the data with --data FOLDER.",
  },
} as const satisfies Record<string, CatalogueEntry>;

export type ErrorCode = keyof typeof errorCatalogue;
