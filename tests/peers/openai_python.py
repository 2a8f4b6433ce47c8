"""OpenAI's Python client against a server. Started by openai-python.mjs with the address and the model's name."""

import json
import sys

import openai

url, model = sys.argv[1:]
client = openai.OpenAI(base_url=url + "/v1", api_key="none", max_retries=0)


def check(name, condition):
    print(("ok   " if condition else "FAIL ") + name)
    if not condition:
        sys.exit(1)


check("models", model in [card.id for card in client.models.list()])
check("one model", client.models.retrieve(model).id == model)

prompt = "Mia has a"
whole = client.completions.create(model=model, prompt=prompt, max_tokens=16, temperature=0, logprobs=2)
check("completion", whole.usage.completion_tokens == 16 and len(whole.choices[0].logprobs.tokens) == 16)
parts = client.completions.create(model=model, prompt=prompt, max_tokens=16, temperature=0, stream=True)
check("a stream is the whole answer", "".join(p.choices[0].text for p in parts if p.choices) == whole.choices[0].text)
echo = client.completions.create(model=model, prompt=prompt, max_tokens=0, echo=True, logprobs=1)
check("echo with logprobs", echo.choices[0].text == prompt and echo.choices[0].logprobs.token_logprobs[0] is None)

messages = [{"role": "user", "content": "Where is the red ball?"}]
chat = client.chat.completions.create(model=model, messages=messages, max_tokens=24, temperature=0)
check("chat", chat.choices[0].message.role == "assistant" and chat.usage.prompt_tokens > 0)
usage = None
text = ""
for event in client.chat.completions.create(
    model=model, messages=messages, max_tokens=24, temperature=0, stream=True, stream_options={"include_usage": True}
):
    text += (event.choices[0].delta.content or "") if event.choices else ""
    usage = event.usage or usage
check("chat as a stream", text == chat.choices[0].message.content and usage.total_tokens == chat.usage.total_tokens)

schema = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 0, "maximum": 9}}, "required": ["n"]}
form = {"type": "json_schema", "json_schema": {"name": "n", "schema": {**schema, "additionalProperties": False}, "strict": True}}
answer = client.chat.completions.create(model=model, messages=messages, max_tokens=64, response_format=form)
check("structured output", isinstance(json.loads(answer.choices[0].message.content)["n"], int))

tools = [{"type": "function", "function": {"name": "look", "parameters": schema}}]
try:
    called = client.chat.completions.create(
        model=model, messages=messages, max_tokens=64, tools=tools, tool_choice="required"
    )
    check("a call of a tool", called.choices[0].message.tool_calls[0].function.name == "look")
except openai.BadRequestError as error:
    # A model whose chat template knows no tools.
    check("tools are refused by a model that knows none", "shows no tools" in str(error))

response = client.responses.create(model=model, input="Where is Tom?", max_output_tokens=16)
check("responses", response.output_text != "" and response.status in ("completed", "incomplete"))

with client.completions.create(model=model, prompt=prompt, max_tokens=1000, stream=True) as stream:
    next(iter(stream))
check("a stream that is left", client.completions.create(model=model, prompt=prompt, max_tokens=1).usage is not None)

for name, error, body in [
    ("an unknown model", openai.NotFoundError, {"model": "nobody", "prompt": prompt}),
    ("a bad value", openai.BadRequestError, {"model": model, "prompt": prompt, "temperature": 9}),
    ("a prompt that is too long", openai.BadRequestError, {"model": model, "prompt": "a b " * 20000}),
]:
    try:
        client.completions.create(**body)
        check(name, False)
    except error:
        check(name, True)
