"""culet inside other tools, each with packages of its own that pip brings on request:

    pip install "culet[langchain]"     culet.integrations.langchain: a chat model for LangChain
    pip install "culet[llm]"           culet.integrations.llm: models of the command llm
"""
