/**
 * Published chat formats as templates: LLaMA 2's (meta-llama/llama, llama/generation.py), LLaMA 3's without its preamble of
 * dates (meta-llama/llama3, llama/tokenizer.py), ChatML (openai/openai-python, chatml.md).
 */
export const chatFormats = {
  "llama-2":
    "{% if messages[0]['role'] == 'system' %}" +
    "{% set system = '<<SYS>>\\n' + messages[0]['content'] + '\\n<</SYS>>\\n\\n' %}{% set turns = messages[1:] %}" +
    "{% else %}{% set system = '' %}{% set turns = messages %}{% endif %}" +
    "{% for message in turns %}{% if message['role'] == 'user' %}" +
    "{% set content = system + message['content'] if loop.first else message['content'] %}" +
    "{{ ('' if loop.first else bos_token) + '[INST] ' + content.strip() + ' [/INST]' }}" +
    "{% else %}{{ ' ' + message['content'].strip() + ' ' + eos_token }}{% endif %}{% endfor %}",
  "llama-3":
    "{% for message in messages %}" +
    "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' + message['content'] | trim + '<|eot_id|>' }}" +
    "{% endfor %}" +
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}",
  chatml:
    "{% for message in messages %}" +
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}" +
    "{% endfor %}" +
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}",
} as const;

/** Characters of a template; the longest published ones have 20,000. */
export const longestTemplate = 2 ** 18;

export type ChatFormat = keyof typeof chatFormats;
