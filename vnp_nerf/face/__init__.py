"""nerfstudio's view of the package: method configs, dataparser, datamanager, model, pipeline and trainer.

Kept free of imports: nerfstudio loads the dataparser while its own modules are half imported.
"""
