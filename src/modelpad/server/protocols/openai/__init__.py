"""OpenAI's API for language models: completions, chat, models and tokens.

https://platform.openai.com/docs/api-reference/completions
"""
