"""Sub-commands of ``mmtheory`` that this program brings; heavy imports happen inside."""
