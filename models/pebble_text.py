"""A conversation of the micro-world as text: prompt, and what the model writes itself.

The text is the one that Gemma 4's small chat template writes; `segments` renders it directly (test_world.py compares it
with the template) because it must also tell which parts are the model's own words: only those are learnt.
"""

QUOTE = '<|"|>'


def argument(value):
    """A value inside a tool call."""
    return f"{QUOTE}{value}{QUOTE}" if isinstance(value, str) else str(value)


def declaration(tool_data):
    function = tool_data["function"]
    properties = function["parameters"]["properties"]

    def told(value):
        text = f"description:{QUOTE}{value['description']}{QUOTE}," if "description" in value else ""
        return f"{{{text}type:{QUOTE}{value['type'].upper()}{QUOTE}}}"
    fields = ",".join(f"{key}:{told(value)}" for key, value in sorted(properties.items()))
    required = ",".join(f"{QUOTE}{key}{QUOTE}" for key in function["parameters"]["required"])
    return (f"<|tool>declaration:{function['name']}{{description:{QUOTE}{function['description']}{QUOTE},"
            f"parameters:{{properties:{{{fields}}},required:[{required}],type:{QUOTE}OBJECT{QUOTE}}}}}<tool|>")


def segments(conversation):
    """The conversation as a list of (text, learnt): joined, the text is what the template writes.

    Learnt is what the model writes itself after a generation prompt: thoughts, calls, answers and the control token that
    ends them. When the conversation thinks, earlier answers are shown without the thoughts that led to them, so only the
    last turn is learnt there.
    """
    out = [("<bos>", False)]
    messages = conversation.messages
    has_system = messages[0]["role"] == "system"
    if conversation.thinking or conversation.tools or has_system:
        text = "<|turn>system\n" + ("<|think|>\n" if conversation.thinking else "")
        if has_system:
            text += messages[0]["content"]
        out.append((text + "".join(map(declaration, conversation.tools)) + "<turn|>\n", False))
    messages = messages[has_system:]
    last_user = max(i for i, m in enumerate(messages) if m["role"] == "user")
    previous = None
    for i, message in enumerate(messages):
        if message["role"] == "tool":
            continue
        if message["role"] == "user":
            out.append((f"<|turn>user\n{message['content']}<turn|>\n", False))
            previous = "user"
            continue
        learnt = i > last_user or not conversation.thinking
        if previous != "assistant":
            out.append(("<|turn>model\n", False))
        if message.get("reasoning") and i > last_user:
            opening = "<|channel>thought\n"
            # After a tool response the generation prompt has opened the thought already.
            out.append((opening, learnt and previous != "assistant"))
            out.append((message["reasoning"] + "\n<channel|>", learnt))
        answered = False
        for call in message.get("tool_calls", ()):
            function = call["function"]
            fields = ",".join(f"{k}:{argument(v)}" for k, v in sorted(function["arguments"].items()))
            out.append((f"<|tool_call>call:{function['name']}{{{fields}}}<tool_call|>", learnt))
            if i + 1 < len(messages) and messages[i + 1]["role"] == "tool":
                answered = True
                out.append(("<|tool_response>", learnt))
                out.append((f"response:{function['name']}{{value:{argument(messages[i + 1]['content'])}}}"
                            "<tool_response|>", False))
        if message.get("tool_calls"):
            if not answered:
                out.append(("<|tool_response>", learnt))
        else:
            out.append((message["content"] + "<turn|>", learnt))
            out.append(("\n", False))
        previous = "assistant"
    return out


def render(conversation):
    return "".join(text for text, _ in segments(conversation))


def prompt_and_answer(conversation):
    """The text up to the last generation prompt, and what the model should write after it, its stop token included."""
    parts = segments(conversation)
    end = max(i for i, (_, learnt) in enumerate(parts) if learnt)
    start = end
    while parts[start - 1][1]:
        start -= 1
    return "".join(t for t, _ in parts[:start]), "".join(t for t, _ in parts[start:end + 1])
