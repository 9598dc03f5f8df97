"""The Streamlit dashboard for finance and supply chain."""
