"""Empty. LLaMA-Factory imports torchaudio for rows with sound, of which there are none here."""
