"""A folder a device: profile.yaml and the fitted predictor. Code lives in `nas.hardware`."""
