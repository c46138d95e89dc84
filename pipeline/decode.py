"""The decoder, for scripts outside of Pictor: `decode_image(body, limits=Limits(), target_px=224)`."""

from pipeline.image.decode import DecodedImage, decode_image

__all__ = ["DecodedImage", "decode_image"]
